// Sliders, and the preset as a file and as a command.

import { complain, fill, find, make, say } from "./base.js";
import { change, facts, here, whenever } from "./state.js";

const SETTLE_MS = 120;
const sliders = new Map();
let wanted = {}, timer = 0, moved = null;

export function startAdjusting() {
  whenever((clip) => clip.values, (clip) => showSliders(clip.values));
  whenever((clip) => [clip.toml, clip.command, clip.preset], showPreset);
  find("reset").addEventListener("click", () => {
    change({ values: Object.fromEntries(Object.entries(facts.sliders).map(([key, one]) => [key, one.default])) });
  });
  find("preset-name").addEventListener("change", (event) => { if (event.target.value) change({ preset: event.target.value }); });
  find("preset-open").addEventListener("click", () => find("preset-file").click());
  find("preset-file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) await change({ toml: await file.text() });
    event.target.value = "";
  });
  find("preset-save").addEventListener("click", save);
  find("copy").addEventListener("click", copy);
}

function showSliders(values) {
  if (!sliders.size) buildSliders(values);
  for (const [key, { input, output }] of sliders) {
    if (key in wanted || input === moved) continue; // it is being moved
    input.value = values[key];
    output.textContent = values[key].toFixed(2);
  }
}

function buildSliders(values) {
  const keys = Object.keys(values);
  fill(find("part-sliders"), ...facts.parts.map((part) => make("tr", {},
    make("th", { scope: "row" }, say(part)),
    ...["shape", "expression"].map((kind) => make("td", {}, slider(`guide.${kind}.${part}`, values))))));
  const others = keys.filter((key) => !/^guide\.(shape|expression)\./.test(key));
  fill(find("more-sliders"), ...others.map((key) => make("label", { class: "row small" },
    make("span", { class: "slider-name" }, say(key.split(".").pop())), slider(key, values))));
}

function slider(key, values) {
  const { min, max, step } = facts.sliders[key];
  const output = make("output", { class: "small" }, values[key].toFixed(2));
  const [, kind, part] = key.split(".");
  const name = part && kind !== "offsets" ? `${find("adjust-title").parentElement.querySelector(`th:nth-child(${kind === "shape" ? 2 : 3})`).textContent}, ${say(part)}` : null;
  const input = make("input", {
    type: "range", min, max, step, value: values[key], id: `slider-${key}`, "aria-label": name,
    onpointerdown: () => { moved = input; },
    onpointerup: () => { moved = null; },
    onpointercancel: () => { moved = null; },
    oninput: (event) => {
      output.textContent = Number(event.target.value).toFixed(2);
      wanted[key] = Number(event.target.value);
      clearTimeout(timer);
      timer = setTimeout(() => { const values = wanted; wanted = {}; change({ values }); }, SETTLE_MS);
    },
  });
  sliders.set(key, { input, output });
  return make("span", { class: "slider" }, input, output);
}

function showPreset(clip) {
  const names = facts.presets.map(([name, about]) => make("option", { value: name, title: about }, name));
  const known = facts.presets.some(([name]) => name === clip.preset);
  fill(find("preset-name"), ...(known ? [] : [make("option", { value: "" }, clip.preset)]), ...names);
  find("preset-name").value = known ? clip.preset : "";
  find("command").value = clip.command;
  find("toml").value = clip.toml;
}

function save() {
  const address = URL.createObjectURL(new Blob([find("toml").value], { type: "application/toml" }));
  const link = make("a", { href: address, download: `${facts.id}.toml` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

async function copy() {
  const box = find("command");
  box.select();
  try {
    await navigator.clipboard.writeText(box.value);
  } catch {
    document.execCommand("copy");
  }
  find("copied").textContent = say("copied");
}
