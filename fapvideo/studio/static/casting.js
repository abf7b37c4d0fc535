// Who gets what: cards of people with a place for each part, and the shelf of photos.

import { complain, dropFiles, fill, find, make, say, upload } from "./base.js";
import { change, facts, here, hold, release, take, whenever } from "./state.js";

const EVERYONE = "everyone_else";
const shown = { person: null, part: facts.parts[0] };
const unfolded = new Set();
let carried = null, clip = null, dragging = false;

export function startCasting() {
  whenever((now) => [now.people, now.photos, now.ranking, now.followed, now.values], (now) => { clip = now; show(); });
  find("shelf-for").addEventListener("change", (event) => {
    [shown.person, shown.part] = event.target.value.split("|");
    showShelf();
  });
  find("add-photo").addEventListener("click", () => find("photo-file").click());
  find("photo-file").addEventListener("change", (event) => addPhotos([...event.target.files]));
  dropFiles(find("shelf").parentElement, addPhotos);
  for (const end of ["drop", "dragend"]) document.addEventListener(end, letGo, { capture: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && carried) { carry(null); find("carry-said").textContent = say("put_back"); }
  });
}

/** End a drag: what is dragged may not be there any more to say so itself. */
function letGo() {
  if (!dragging) return;
  dragging = false;
  setTimeout(release);
}

function show() {
  const { known, everyone } = clip.people;
  if (shown.person === null && known.length) shown.person = String(known[0].id);
  const cards = known.map((one) => card(one, String(one.id), say("person", { number: one.number })));
  if (known.length > 1) cards.push(card(everyone, EVERYONE, say("everyone")));
  const none = make("p", { class: "muted" }, say(clip.followed ? "no_people" : "no_people_yet"));
  fill(find("people"), ...(cards.length ? cards : [none]));
  showChoice();
  showShelf();
}

// ------------------------------------------------------------------ cards

function card(one, id, name) {
  const guarded = Boolean(one.protected);
  const head = make("div", { class: "card-head" },
    ...(one.pictures ?? []).slice(0, 1).map((p) => face(p, name, "face")),
    make("div", { class: "grow" },
      make("h3", {}, name),
      ...(one.facts ?? []).map((fact) => make("p", { class: "muted small" }, fact))));
  const film = make("div", { class: "film" }, ...(one.pictures ?? []).slice(1).map((p) => face(p, "", "frame")));
  const against = (one.against ?? []).map((text) => make("li", {}, text));
  const notes = one.pictures
    ? (against.length ? make("ul", { class: "warnings small" }, ...against) : make("p", { class: "muted small" }, say("nothing_against")))
    : null;
  const slots = make("div", { class: "slots" }, ...facts.parts.map((part) => slot(one, id, name, part)));
  const box = make("article", { class: `card${guarded ? " guarded" : ""}`, "aria-label": name }, head, film, notes);
  if (guarded) {
    box.append(make("p", { class: "guard small" }, say("protected", { name: one.protected })));
    return box;
  }
  box.append(slots, everything(one, id, name), controls(one, id, name));
  if (Object.keys(one.slots).length) box.append(tuning(one, id, name));
  return box;
}

function face(picture, name, kind) {
  return make("img", { class: kind, src: `${here}/face/${picture}`, alt: name, loading: "lazy" });
}

function slot(one, id, name, part) {
  const has = one.slots[part];
  const title = say("of", { part: say(part), person: name });
  const label = carried ? say("put_here", { photo: carried.name, part: say(part), person: name }) : say("show_photos", { part: say(part), person: name });
  const image = has?.photo ? make("img", { src: `${here}/photo/${has.photo}`, alt: "" }) : make("span", { class: "nothing", "aria-hidden": "true" }, "+");
  const button = make("button", {
    type: "button", class: "slot-face", "aria-label": label, id: `slot-${id}-${part}`,
    onclick: () => (carried ? put(id, part, carried) : showFor(id, part)),
  }, image);
  const box = make("div", { class: `slot${has ? " filled" : ""}${carried ? " open" : ""}` }, button,
    make("label", { class: "small" }, make("span", { "aria-hidden": "true" }, say(part)), chooser(id, part, title, has?.photo ?? "", has)));
  const reason = reasonsOf(id, part, has?.photo);
  if (reason) box.append(make("p", { class: "why small" }, reason));
  takesPhotos(box, (photo) => put(id, part, photo));
  return box;
}

function chooser(id, part, title, chosen, has) {
  const rows = ranked(id, part);
  const options = rows.map(({ photo, words, usable }) => make("option", { value: photo.id, disabled: !usable }, `${photo.name}${words ? ` · ${words}` : ""}`));
  const select = make("select", { "aria-label": title, id: `choose-${id}-${part}`, onchange: (event) => put(id, part, photoOf(event.target.value)) },
    make("option", { value: "" }, say("as_filmed")), ...options);
  if (has && !has.photo) select.append(make("option", { value: "?", disabled: true }, has.name));
  select.value = has && !has.photo ? "?" : chosen;
  return select;
}

function everything(one, id, name) {
  const box = chooser(id, "all", say("of", { part: say("whole_face"), person: name }), "", null);
  const photos = new Set(facts.parts.map((part) => one.slots[part]?.photo ?? ""));
  if (photos.size === 1) box.value = [...photos][0];
  else { box.append(make("option", { value: "*", disabled: true }, say("several"))); box.value = "*"; }
  return make("label", { class: "small row whole" }, make("span", { "aria-hidden": "true" }, say("whole_face")), box);
}

/** Return a slider of percents and what it says; nothing is made anew while it is dragged. */
function percents(id, label, most, value, set) {
  const percent = Math.round(100 * value);
  const output = make("output", { class: "small", for: id }, `${percent} %`);
  let dragged = false;
  const end = () => { if (dragged) { dragged = false; setTimeout(release); } };
  const slider = make("input", {
    type: "range", min: 0, max: most, step: 1, value: percent, id, "aria-label": label, "aria-valuetext": `${percent} %`,
    oninput: () => { output.textContent = `${slider.value} %`; slider.setAttribute("aria-valuetext", output.textContent); },
    onchange: () => set(Number(slider.value) / 100),
    onpointerdown: () => { if (!dragged) hold(); dragged = true; },
    onpointerup: end, onpointercancel: end, onlostpointercapture: end,
  });
  return [slider, output];
}

/** Return what every part has of its own: strength, and expression in place of the whole clip's. */
function tuning(one, id, name) {
  const rows = facts.parts.filter((part) => one.slots[part]).map((part) => {
    const { strength, expression } = one.slots[part], usual = clip.values[`guide.expression.${part}`];
    const of = say("of", { part: say(part), person: name });
    const set = (values) => change({ person: id, parts: { [part]: values } });
    return make("tr", {}, make("th", { scope: "row" }, say(part)),
      make("td", {}, make("span", { class: "slider" }, ...percents(`strength-${id}-${part}`, `${say("strength")}, ${of}`, 100, strength, (share) => set({ strength: share })))),
      make("td", {}, make("span", { class: "slider" }, ...percents(`expression-${id}-${part}`, `${say("expression")}, ${of}`, 200, expression ?? usual,
        (gain) => set({ expression: Math.abs(gain - usual) < 0.005 ? null : gain })))));
  });
  const head = make("tr", {}, make("th", { scope: "col" }, say("part")), make("th", { scope: "col" }, say("strength")), make("th", { scope: "col" }, say("expression")));
  return make("details", { class: "small", open: unfolded.has(id), ontoggle: (event) => unfolded[event.target.open ? "add" : "delete"](id) },
    make("summary", { id: `tune-${id}` }, say("tune")),
    make("table", { class: "sliders" }, make("thead", {}, head), make("tbody", {}, ...rows)));
}

function controls(one, id, name) {
  const [slider, output] = percents(`strength-${id}`, `${say("strength")}, ${name}`, 100, one.strength, (strength) => change({ person: id, strength }));
  const keep = make("input", { type: "checkbox", id: `keep-${id}`, checked: one.keep, onchange: (event) => change({ person: id, keep: event.target.checked }) });
  return make("div", { class: "row controls" },
    make("label", { class: "row grow small" }, make("span", { "aria-hidden": "true" }, say("strength")), slider, output),
    make("label", { class: "check small" }, keep, say("keep")));
}

async function put(id, part, photo) {
  const person = id === EVERYONE ? say("everyone") : say("person", { number: clip.people.known.find((one) => String(one.id) === id).number });
  carry(null);
  if (await change({ person: id, part, photo: photo?.id ?? "" }) && photo) {
    find("carry-said").textContent = say("cast_done", { photo: photo.name, part: say(part === "all" ? "whole_face" : part), person });
  }
}

// ------------------------------------------------------------------ the shelf

function photoOf(id) {
  return clip.photos.find((one) => one.id === id) ?? null;
}

/** Return the photos for a part of somebody, the best first, with what is to be said of each. */
function ranked(id, part) {
  const found = clip.ranking[id];
  const rows = found?.parts[part === "all" ? "eyes" : part] ?? [];
  const rest = clip.photos.filter((photo) => !rows.some((row) => row.photo === photo.id));
  return [
    ...rows.filter((row) => photoOf(row.photo)).map((row) => ({
      photo: photoOf(row.photo), usable: true, fits: row.fits, score: Math.round(100 * row.score),
      words: row.fits ? say("score", { score: Math.round(100 * row.score) }) : say("unfit"),
      reasons: row.fits ? row.reasons.join("; ") || say("fits") : say("does_not_fit", { why: row.reasons.join("; ") }),
    })),
    ...rest.map((photo) => {
      const why = found?.unusable[photo.id];
      const words = why ? say("unusable", { why }) : say("not_ranked");
      return { photo, usable: !why, fits: !why, score: null, words: why ? words : "", reasons: words };
    }),
  ];
}

function reasonsOf(id, part, photo) {
  const row = photo && ranked(id, part).find((one) => one.photo.id === photo);
  return row && row.score !== null && (!row.fits || row.reasons !== say("fits")) ? row.reasons : "";
}

function showFor(id, part) {
  Object.assign(shown, { person: id, part });
  showChoice();
  showShelf();
  find("shelf").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function showChoice() {
  const options = clip.people.known.filter((one) => !one.protected).flatMap((one) => facts.parts.map((part) =>
    make("option", { value: `${one.id}|${part}` }, say("ranked_for", { person: say("person", { number: one.number }), part: say(part) }))));
  fill(find("shelf-for"), ...options);
  find("shelf-for").value = `${shown.person}|${shown.part}`;
}

function showShelf() {
  const items = ranked(shown.person, shown.part).map(({ photo, usable, fits, score, reasons }) => {
    const pressed = carried?.id === photo.id;
    const button = make("button", {
      type: "button", class: "photo", draggable: usable, "aria-pressed": String(pressed), disabled: !usable, id: `photo-${photo.id}`,
      "aria-label": `${photo.name}. ${reasons}`,
      onclick: () => carry(pressed ? null : photo),
      ondragstart: (event) => { dragging = true; hold(); event.dataTransfer.setData("text/x-photo", photo.id); event.dataTransfer.effectAllowed = "copy"; },
    }, make("img", { src: `${here}/photo/${photo.id}`, alt: "", draggable: false }));
    return make("li", { class: fits && usable ? "" : "unfit" }, button,
      make("span", { class: "photo-name small" }, photo.name, score === null ? "" : ` · ${score}`),
      make("span", { class: "why small" }, reasons));
  });
  fill(find("shelf"), ...items);
}

function carry(photo) {
  carried = photo;
  find("carry-said").textContent = photo ? say("carrying", { photo: photo.name }) : "";
  show();
}

function takesPhotos(box, take) {
  box.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("text/x-photo")) return;
    event.preventDefault();
    box.classList.add("over");
  });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    const photo = photoOf(event.dataTransfer.getData("text/x-photo"));
    box.classList.remove("over");
    if (!photo) return;
    event.preventDefault();
    take(photo);
  });
}

async function addPhotos(files) {
  complain(null);
  const said = find("carry-said");
  for (const file of files) {
    try {
      const answer = await upload(`${here}/photo`, file, (share) => {
        said.textContent = say("uploading", { name: file.name, percent: Math.round(100 * share) });
      });
      take("clip", answer.clip);
      said.textContent = "";
    } catch (error) {
      said.textContent = "";
      complain(error);
    }
  }
  find("photo-file").value = "";
}
