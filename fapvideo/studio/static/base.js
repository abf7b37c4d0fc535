// What all pages of the studio share: words, elements, requests.

export const words = JSON.parse(document.getElementById("words").textContent);
const token = document.querySelector("meta[name=studio-token]").content;

/** Return a text with its {names} filled in. */
export function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const find = (id) => document.getElementById(id);

/** Make an element; texts are texts, whatever is in them. */
export function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) element.style.setProperty(k, v);
    else if (["value", "checked", "disabled", "hidden"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...inside.filter((one) => one !== null && one !== undefined));
  return element;
}

/** Put other children into an element; the focus stays where it was, by the element's id. */
export function fill(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...children);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** Send something that changes the studio; return the answer, or throw its problem. */
export async function post(address, body, { signal } = {}) {
  return answerOf(await fetch(address, {
    method: "POST", signal, headers: { "x-studio-token": token, "content-type": "application/json" },
    body: JSON.stringify(body),
  }));
}

export async function get(address, { signal } = {}) {
  return answerOf(await fetch(address, { signal }));
}

async function answerOf(response) {
  const answer = await response.json().catch(() => ({ problem: { message: say("lost"), hint: "" } }));
  if (answer.problem || !response.ok) throw new Problem(answer.problem ?? { message: say("lost") });
  return answer;
}

export class Problem extends Error {
  constructor({ message, hint }) {
    super(hint ? `${message} (${hint})` : message);
  }
}

/** Upload a file and tell how far it is; return the answer. */
export function upload(address, file, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${address}?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("x-studio-token", token);
    request.responseType = "json";
    request.upload.onprogress = (event) => tell(event.total ? event.loaded / event.total : 0);
    request.onerror = () => reject(new Problem({ message: say("lost") }));
    request.onload = () => {
      const answer = request.response ?? {};
      if (request.status < 400) resolve(answer);
      else reject(new Problem(answer.problem ?? { message: say("lost") }));
    };
    request.send(file);
  });
}

/** Show a problem, or none. */
export function complain(error) {
  const box = find("problem");
  box.hidden = !error;
  box.textContent = error ? error.message : "";
}

/** Return seconds as 0:03.24. */
export function clock(seconds) {
  const hundredths = Math.round(seconds * 100);
  const rest = String(hundredths % 6000).padStart(4, "0");
  return `${Math.floor(hundredths / 6000)}:${rest.slice(0, 2)}.${rest.slice(2)}`;
}

/** Let files that are dropped onto an element go to `take`. */
export function dropFiles(element, take) {
  const withFiles = (event) => event.dataTransfer?.types.includes("Files");
  element.addEventListener("dragover", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("over");
    if (!withFiles(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
}
