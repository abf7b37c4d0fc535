// Shots, people and what will be hard, as stretches that one can go to.

import { clock, fill, find, make, say, words } from "./base.js";
import { change, facts, whenever } from "./state.js";

let goTo;

export function startTimeline(goThere) {
  goTo = goThere;
  whenever((clip) => [clip.scan, clip.people.known?.map((one) => one.spans), clip.duration_s], show);
  whenever((clip) => [clip.spans, clip.scan.helps], (clip) => {
    const button = find("advice");
    button.hidden = !clip.scan.helps && !clip.spans;
    button.textContent = say(clip.spans ? "drop_advice" : "use_advice");
    button.onclick = () => change({ spans: !clip.spans });
  });
}

function show(clip) {
  const length = clip.duration_s || facts.duration_s;
  if (!length) return;
  const cuts = [0, ...clip.scan.cuts_s, length];
  const shots = cuts.slice(0, -1).map((start, i) => ({
    start, end: cuts[i + 1], text: say("shot", { number: i + 1, start: clock(start), end: clock(cuts[i + 1]) }),
    kind: `shot tone-${i % 2}`,
  }));
  const numbers = new Map(clip.people.known.map((one) => [one.id, one.number]));
  const name = (id) => (numbers.has(id) ? say("person", { number: numbers.get(id) }) : "");
  const rows = [row(words.shot_row, shots, length)];
  for (const person of clip.people.known) {
    const title = say("person", { number: person.number });
    rows.push(row(title, person.spans.map(([start, end]) => ({
      start, end, kind: `person hue-${(person.number - 1) % 6}`,
      text: say("shown", { person: title, start: clock(start), end: clock(end) }),
    })), length));
  }
  const hard = clip.scan.spans.map((span) => ({
    start: span.start_s, end: span.end_s, kind: "hard", label: span.words,
    text: say("goes_there", { words: span.words, person: name(span.person) || "?", start: clock(span.start_s), end: clock(span.end_s), why: span.why }),
  }));
  if (hard.length) rows.push(row(words.hard_row, hard, length));
  const note = clip.followed && !hard.length ? make("p", { class: "muted small" }, say("nothing_hard")) : null;
  fill(find("timeline"), ...rows, ...(note ? [note] : []));
  find("timeline-help").hidden = !hard.length;
}

function row(title, spans, length) {
  const track = make("div", { class: "track" });
  spans.forEach((span, i) => {
    track.append(make("button", {
      type: "button", class: `span ${span.kind}`, title: span.text, "aria-label": span.text,
      id: `span-${title}-${i}`.replace(/\s+/g, "-"),
      style: { left: `${(100 * span.start) / length}%`, width: `${Math.max(0.6, (100 * (span.end - span.start)) / length)}%` },
      onclick: () => goTo(span.kind === "hard" ? (span.start + span.end) / 2 : span.start + 0.001),
    }, span.label ?? ""));
  });
  track.append(make("span", { class: "now", "aria-hidden": "true" }));
  return make("div", { class: "line", role: "group", "aria-label": title }, make("span", { class: "line-title", "aria-hidden": "true" }, title), track);
}
