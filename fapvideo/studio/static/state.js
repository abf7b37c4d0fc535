// What the studio says of a clip, the parts of the page that show it, and changes to it.

import { complain, find, post, say } from "./base.js";

export const facts = JSON.parse(find("facts").textContent);
export const here = `/clip/${facts.id}`;
const state = JSON.parse(find("state").textContent);
const parts = [], heard = [];
let held = 0, last = 0, waiting = 0, version = 0, later = null;

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
  waiting += 1;
  try {
    const answer = await post(`${here}/change`, body).finally(() => { waiting -= 1; });
    if (number === last) takeClip(answer.clip, answer.version);
    heard.forEach((act) => act());
    return true;
  } catch (error) {
    for (const part of parts) part.seen = null; // what was chosen is shown as it still is
    refreshAll();
    complain(error);
    return false;
  }
}

/** Take what was said of the clip, unless something newer is known; what is asked for comes first. */
function takeClip(value, number) {
  if (waiting) { later = [value, number]; return; }
  if (number >= version) { version = number; take("clip", value); }
  const [next, newer] = later ?? [null, -1];
  later = null;
  if (newer > version) { version = newer; take("clip", next); }
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
  source.addEventListener("clip", (event) => takeClip(JSON.parse(event.data), Number(event.lastEventId)));
  source.addEventListener("renders", (event) => take("renders", JSON.parse(event.data)));
  source.onopen = () => {
    if (away) complain(null);
    away = false;
    version = 0; // a studio that was started again counts anew
  };
  source.onerror = () => { away = true; complain(new Error(say("lost"))); };
  return source;
}
