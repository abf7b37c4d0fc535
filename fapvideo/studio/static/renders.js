// Consent, licences and provenance; the render button beside them; what is rendered.

import { clock, complain, fill, find, make, post, say, upload } from "./base.js";
import { change, facts, here, whenever } from "./state.js";

const FIELDS = ["who", "by", "until", "clips", "purpose"];
let documentKept = "", chosen = null;

export function startRenders() {
  whenever((clip) => clip.trust, (clip) => showTrust(clip.trust));
  whenever((_, renders) => renders, (_, renders) => showRenders(renders));
  fill(find("consent-parts"), ...facts.parts.map((part) => make("label", { class: "check small" },
    make("input", { type: "checkbox", name: "parts", value: part }), say(part))));
  find("keep-consent").addEventListener("click", keepConsent);
  find("add-document").addEventListener("click", () => find("document-file").click());
  find("document-file").addEventListener("change", ({ target }) => { if (target.files.length) choose(target.files[0]); });
  find("drop-document").addEventListener("click", () => { documentKept = ""; choose(null); find("add-document").focus(); });
  find("signed").addEventListener("change", (event) => change({ signed: event.target.checked }));
  find("render").addEventListener("click", () => ask(`${here}/render`, {}));
}

function field(name) {
  return find("consent").querySelector(`[name=${name}]`);
}

const scope = () => [...find("consent-parts").querySelectorAll("input")];

/** Show which document goes with the consent: a chosen file, or the one that is kept. */
function choose(file) {
  chosen = file;
  const name = chosen?.name ?? documentKept;
  find("document-name").textContent = name;
  find("drop-document").hidden = !name;
  if (!file) find("document-file").value = "";
}

async function keepConsent() {
  const said = find("consent-said");
  complain(null);
  said.textContent = "";
  try {
    if (chosen) {
      const { name } = chosen;
      const answer = await upload(`${here}/consent`, chosen, (share) => {
        said.textContent = say("uploading", { name, percent: Math.round(100 * share) });
      });
      documentKept = answer.document;
      choose(null);
    }
  } catch (error) {
    said.textContent = "";
    complain(error);
    return;
  }
  const consent = Object.fromEntries(FIELDS.map((name) => [name, field(name).value]));
  const parts = scope().filter((box) => box.checked).map((box) => box.value);
  said.textContent = (await change({ consent: { ...consent, parts, document: documentKept } })) ? say("saved") : "";
}

function showTrust(trust) {
  for (const name of FIELDS) {
    if (document.activeElement !== field(name)) field(name).value = trust.consent[name];
  }
  for (const box of scope()) box.checked = trust.consent.parts.includes(box.value);
  documentKept = trust.consent.document;
  choose(chosen);
  find("signed").checked = trust.signed;
  const model = make("p", { class: "small" }, make("strong", {}, trust.bundle), " ", make("span", { class: "muted" }, trust.bundle_licences.join("; ")));
  const photos = trust.references.map((one, i) => make("label", { class: "small" }, one.name, " ",
    make("input", { value: one.licence, placeholder: say("licence_hint"), id: `licence-${i}`,
      onchange: (event) => change({ licence: event.target.value, path: one.path }) })));
  fill(find("licences"), model, ...photos);
  const box = find("questions");
  fill(box, ...(trust.questions.length
    ? [make("p", { class: "small" }, box.dataset.lead), make("ul", { class: "warnings small" }, ...trust.questions.map((text) => make("li", {}, text)))]
    : []));
}

async function ask(address, body) {
  complain(null);
  try {
    await post(address, body);
  } catch (error) {
    complain(error);
  }
}

function showRenders(renders) {
  const none = make("li", { class: "muted small" }, say("no_renders"));
  fill(find("renders"), ...(renders.length ? renders.map(row) : [none]));
}

function row(one) {
  const place = `${here}/render/${one.number}`, name = say("render_number", { number: Number(one.number) });
  const running = one.status === "running" || one.status === "stopping";
  const share = one.total ? Math.round((100 * one.done) / one.total) : 0;
  const step = running ? `, ${say(`stage_${one.stage ?? ""}`)}${one.total ? ` ${share} %` : ""}` : "";
  const left = running && one.left_s !== null ? ` · ${say("left", { time: clock(one.left_s).replace(/\..*/, "") })}` : "";
  const item = make("li", { class: `job status-${one.status}`, "data-number": one.number },
    make("p", {}, make("strong", {}, name), " ", make("span", { class: "badge" }, say(`status_${one.status}`)), make("span", { class: "small" }, step + left)));
  if (running) item.append(make("progress", { max: 100, value: share, "aria-label": name }));
  if (one.message) item.append(make("p", { class: "small muted" }, one.hint ? `${one.message} (${one.hint})` : one.message));
  const buttons = make("p", { class: "row" });
  if (running || one.status === "waiting") buttons.append(action("cancel", place, name));
  if (one.status === "stopped" || one.status === "failed") buttons.append(action("resume", place, name));
  if (one.report) buttons.append(make("a", { class: "button", href: `${place}/report`, target: "_blank", rel: "noopener", id: `report-${one.number}` }, say("report")));
  for (const file of one.files) {
    buttons.append(make("a", { class: "button", href: `${place}/file/${encodeURIComponent(file.name)}`, download: file.name, id: `file-${one.number}-${file.name}` }, say("download", { name: file.name })));
  }
  item.append(buttons);
  if (one.status === "done" && one.files.length) {
    const video = one.files.find((file) => /\.(mp4|webm|m4v|mov)$/.test(file.name));
    if (video) item.append(make("video", { class: "result", src: `${place}/file/${encodeURIComponent(video.name)}?show`, controls: true, preload: "metadata", "aria-label": name }));
  }
  return item;
}

function action(what, place, name) {
  return make("button", { type: "button", id: `${what}-${place.split("/").pop()}`, "aria-label": `${say(what)}: ${name}`, onclick: () => ask(place, { do: what }) }, say(what));
}
