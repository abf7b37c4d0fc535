// The screen: the clip plays as filmed; where it stands still, what was painted is shown.

import { clock, complain, find, get, say } from "./base.js";
import { facts, here } from "./state.js";

const SETTLE_MS = 70, AGAIN_MS = 500;
const TAB = Math.random().toString(36).slice(2); // wishes of other tabs are not ended by ours
const fps = facts.fps || 25;
const player = find("player"), picture = find("picture"), under = find("picture-under");

export function startLooking() {
  const screen = {
    time: 0, view: "after", frames: null, at: 0, strip: false, peek: false, timer: 0, playing: 0,
    asked: null, playable: true, speed: 1,
  };
  screen.length = () => player.duration || facts.duration_s || 0;
  wire(screen);
  show(screen);
  ask(screen, "still");
  return { goTo: (time) => goTo(screen, time), changed: () => { leaveStrip(screen); ask(screen, "still"); } };
}

// ------------------------------------------------------------------ painting

function ask(screen, kind) {
  clearTimeout(screen.settling);
  screen.settling = setTimeout(() => paint(screen, kind), kind === "still" ? SETTLE_MS : 0);
}

/** Ask for what is seen; a newer wish ends an older one. */
async function paint(screen, kind) {
  if (isPlaying(screen) && kind === "still") return;
  screen.asked?.abort();
  const asked = new AbortController(), began = performance.now();
  screen.asked = asked;
  find("spinner").hidden = false;
  find("look-said").textContent = say("painting");
  try {
    const answer = await get(`${here}/look?kind=${kind}&time=${screen.time}&tab=${TAB}`, { signal: asked.signal });
    if (screen.asked !== asked) return;
    if (answer.replaced) { // by another tab: again, when that one is served
      screen.settling = setTimeout(() => paint(screen, kind), AGAIN_MS);
      return;
    }
    Object.assign(screen, { frames: answer.frames, at: 0, strip: kind === "strip" });
    await loaded(answer.frames, kind);
    if (screen.asked !== asked) return;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    find("look-said").textContent = say("painted", { seconds });
    done(screen);
    if (screen.strip) play(screen);
  } catch (error) {
    if (screen.asked !== asked || error.name === "AbortError") return;
    screen.frames = null;
    find("look-said").textContent = error.message;
    done(screen);
  }
}

function done(screen) {
  screen.asked = null;
  find("spinner").hidden = true;
  show(screen);
}

/** Wait until pictures can be shown without a flicker. */
function loaded(frames, kind) {
  const views = kind === "still" ? ["before", "after", "difference", "masks"] : ["before", "after"];
  return Promise.all(frames.flatMap((frame) => views.map((view) => {
    const image = new Image();
    image.src = `/painted/${frame[view]}`;
    return image.decode().catch(() => {});
  })));
}

// ------------------------------------------------------------------ showing

function show(screen) {
  const frame = screen.frames?.[screen.at];
  const view = screen.peek ? "before" : screen.view;
  const still = Boolean(frame) && !(isPlaying(screen) && !screen.strip);
  const split = still && view === "split";
  picture.hidden = !still;
  under.hidden = !split;
  find("edge").hidden = find("split").hidden = !split;
  if (still) {
    const name = split ? "after" : (frame[view] ? view : "after");
    picture.src = `/painted/${frame[name]}`;
    picture.alt = say(`${name}_of`, { time: clock(frame.time_s) });
    if (split) {
      under.src = `/painted/${frame.before}`;
      under.alt = say("before_of", { time: clock(frame.time_s) });
    }
  }
  picture.classList.toggle("right-half", split);
  place(screen);
}

function place(screen) {
  const time = screen.strip ? screen.frames[screen.at].time_s : screen.time;
  const slider = find("time");
  slider.max = screen.length();
  slider.value = time;
  slider.setAttribute("aria-valuetext", clock(time));
  find("clock").textContent = clock(time);
  const button = find("play"), plays = isPlaying(screen);
  button.setAttribute("aria-label", plays ? button.dataset.pause : button.dataset.play);
  button.firstElementChild.textContent = plays ? "❚❚" : "▶";
  const share = screen.length() ? Math.min(100, (100 * time) / screen.length()) : 0;
  document.documentElement.style.setProperty("--now", `${share}%`);
}

// ------------------------------------------------------------------ moving

function isPlaying(screen) {
  return Boolean(screen.playing) || !player.paused;
}

function goTo(screen, time) {
  leaveStrip(screen);
  const last = Math.max(0, screen.length() - 0.5 / fps);
  screen.time = Math.min(Math.max(0, time), last);
  if (screen.playable) player.currentTime = screen.time;
  screen.frames = null;
  screen.asked?.abort(); // of another time: it must not be shown here any more
  screen.asked = null;
  show(screen);
  ask(screen, "still");
}

function step(screen, frames) {
  if (screen.strip) {
    const count = screen.frames.length;
    screen.at = (screen.at + frames + count) % count;
    find("look-said").textContent = say("strip_of", { number: screen.at + 1, count });
    show(screen);
    return;
  }
  pause(screen);
  goTo(screen, (Math.floor(screen.time * fps + 0.01) + frames + 0.01) / fps);
}

function play(screen) {
  if (screen.strip) {
    clearInterval(screen.playing);
    screen.playing = setInterval(() => step(screen, 1), 1000 / fps);
  } else {
    player.play().catch(() => {});
  }
  show(screen);
}

function back(screen) {
  pause(screen);
  const skip = Math.max(1, Math.round(fps / 10));
  screen.playing = setInterval(() => {
    if (screen.strip) { step(screen, -1); return; }
    screen.time = Math.max(0, screen.time - skip / fps);
    if (screen.playable) player.currentTime = screen.time;
    if (screen.time === 0) pause(screen);
    show(screen);
  }, 100);
}

function pause(screen) {
  clearInterval(screen.playing);
  screen.playing = 0;
  if (!player.paused) player.pause();
  player.playbackRate = 1;
  show(screen);
}

function leaveStrip(screen) {
  if (!screen.strip) return;
  pause(screen);
  screen.time = screen.frames[screen.at].time_s;
  Object.assign(screen, { strip: false, frames: null, at: 0 });
  show(screen);
}

function toggle(screen) {
  if (isPlaying(screen)) {
    pause(screen);
    if (!screen.strip) ask(screen, "still");
  } else play(screen);
}

// ------------------------------------------------------------------ wiring

const KEYS = {
  ArrowLeft: (screen) => step(screen, -1),
  ArrowRight: (screen) => step(screen, 1),
  " ": toggle,
  k: toggle,
  j: back,
  l: (screen) => {
    if (!screen.strip && isPlaying(screen) && !player.paused) player.playbackRate = Math.min(4, 2 * player.playbackRate);
    else { pause(screen); play(screen); }
  },
  b: (screen) => { screen.peek = true; show(screen); },
  Escape: (screen) => { if (screen.strip) { leaveStrip(screen); ask(screen, "still"); } },
};

function isTyping(target, key) {
  if (target.closest("textarea, select, summary, dialog")) return true;
  const input = target.closest("input");
  if (input?.type === "range") return key.startsWith("Arrow");
  if (input?.type === "radio" || input?.type === "checkbox") return key.startsWith("Arrow") || key === " ";
  if (input) return true;
  return key === " " && Boolean(target.closest("button, a"));
}

function wire(screen) {
  document.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[key] || isTyping(event.target, key)) return;
    if (key !== "Escape") event.preventDefault();
    if (!(event.repeat && "jklb ".includes(key))) KEYS[key](screen);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "b" && screen.peek) { screen.peek = false; show(screen); }
  });
  find("views").addEventListener("change", (event) => { screen.view = event.target.value; show(screen); });
  find("earlier").addEventListener("click", () => step(screen, -1));
  find("later").addEventListener("click", () => step(screen, 1));
  find("play").addEventListener("click", () => toggle(screen));
  find("strip").addEventListener("click", () => { leaveStrip(screen); pause(screen); ask(screen, "strip"); });
  find("time").addEventListener("input", (event) => { pause(screen); goTo(screen, Number(event.target.value)); });
  find("split").addEventListener("input", (event) => {
    document.documentElement.style.setProperty("--split", `${event.target.value}%`);
  });
  document.documentElement.style.setProperty("--split", "50%");
  wirePlayer(screen);
}

function wirePlayer(screen) {
  player.addEventListener("timeupdate", () => {
    if (player.paused) return;
    screen.time = player.currentTime;
    place(screen);
  });
  player.addEventListener("play", () => { screen.frames = screen.strip ? screen.frames : null; show(screen); });
  player.addEventListener("pause", () => { screen.time = player.currentTime; show(screen); if (!screen.strip) ask(screen, "still"); });
  player.addEventListener("loadedmetadata", () => place(screen));
  player.addEventListener("error", () => {
    screen.playable = false;
    find("unplayable").hidden = false;
    complain(null);
  });
}
