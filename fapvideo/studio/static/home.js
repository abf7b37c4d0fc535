// The list of clips: open one, or upload one.

import { complain, dropFiles, find, post, say, upload } from "./base.js";

async function open(body) {
  complain(null);
  try {
    location.href = (await post("/open", body)).address;
  } catch (error) {
    complain(error);
  }
}

async function take([file]) {
  if (!file) return;
  complain(null);
  if (file.size > Number(find("drop").dataset.most)) {
    complain(new Error(say("too_large", { name: file.name })));
    return;
  }
  const bar = find("upload");
  bar.hidden = false;
  try {
    const answer = await upload("/upload", file, (share) => {
      bar.value = Math.round(share * 100);
      const key = share < 1 ? "uploading" : "checking";
      find("said").textContent = say(key, { name: file.name, percent: bar.value });
    });
    location.href = answer.address;
  } catch (error) {
    find("said").textContent = "";
    complain(error);
  } finally {
    bar.hidden = true;
    find("file").value = "";
  }
}

find("choose").addEventListener("click", () => find("file").click());
find("file").addEventListener("change", () => take([...find("file").files]));
find("example")?.addEventListener("click", () => open({ example: true }));
for (const button of document.querySelectorAll("[data-open]")) {
  button.addEventListener("click", () => open({ name: button.dataset.open }));
}
dropFiles(find("drop"), take);
