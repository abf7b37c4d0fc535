// What the studio says of a clip, the parts of the page that show it, and changes to it.

import { complain, find, post, say } from "./base.js";

export const facts = JSON.parse(find("facts").textContent);
export const here = `/clip/${facts.id}`;
const state = JSON.parse(find("state").textContent);
const parts = [], heard = [];
let held = 0, last = 0;

/** Call `show(clip, renders)` now and whenever `key(clip, renders)` is something else. */
export function whenever(key, show) {
  const part = { key, show, seen: null };
  parts.push(part);
  refresh(part);
}

/** Call `act` when a change was made here. */
export function whenChanged(act) { heard.push(act); }

function refresh(part) {
  if (state.clip.people === undefined) return;
  const text = JSON.stringify(part.key(state.clip, state.renders));
  if (text === part.seen) return;
  part.seen = text;
  part.show(state.clip, state.renders);
}

function refreshAll() {
  if (!held) parts.forEach(refresh);
}

/** Change nothing on the page while something is held. */
export function hold() { held += 1; }
export function release() {
  held = Math.max(0, held - 1);
  refreshAll();
}

export function take(name, value) {
  state[name] = value;
  if (value?.problem) complain(new Error(`${value.problem.message} ${value.problem.hint}`));
  refreshAll();
}

/** Ask for a change and show what comes of it; of several answers the last one counts. */
export async function change(body) {
  const number = ++last;
  complain(null);
  try {
    const answer = await post(`${here}/change`, body);
    if (number === last) take("clip", answer.clip);
    heard.forEach((act) => act());
    return true;
  } catch (error) {
    for (const part of parts) part.seen = null; // what was chosen is shown as it still is
    refreshAll();
    complain(error);
    return false;
  }
}

/** Hear of changes as long as the page is seen: a browser has few connections for all tabs. */
export function listen() {
  let source = document.hidden ? null : open();
  document.addEventListener("visibilitychange", () => {
    source?.close();
    source = document.hidden ? null : open();
  });
  addEventListener("pagehide", () => source?.close());
}

function open() {
  const source = new EventSource(`${here}/events`);
  let away = false;
  for (const name of ["clip", "renders"]) {
    source.addEventListener(name, (event) => take(name, JSON.parse(event.data)));
  }
  source.onopen = () => { if (away) complain(null); away = false; };
  source.onerror = () => { away = true; complain(new Error(say("lost"))); };
  return source;
}
