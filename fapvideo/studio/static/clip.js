// The page of a clip.

import { find, make, say } from "./base.js";
import { startAdjusting } from "./adjust.js";
import { startCasting } from "./casting.js";
import { startLooking } from "./look.js";
import { startRenders } from "./renders.js";
import { listen, whenChanged, whenever } from "./state.js";
import { startTimeline } from "./timeline.js";

const look = startLooking();
startTimeline(look.goTo);
startCasting();
startAdjusting();
startRenders();
whenChanged(look.changed);

whenever((clip) => clip.following, (clip) => {
  const { stage, done, total } = clip.following;
  const share = total ? ` ${Math.round((100 * done) / total)} %` : "";
  const box = find("stage-said");
  box.replaceChildren(...(stage ? [make("span", { class: "dot" }), `${say(`stage_${stage}`)}${share}`] : []));
});

whenever((clip) => clip.gone, (clip) => {
  find("gone").hidden = !clip.gone.length;
  find("gone").textContent = clip.gone.length ? say("gone", { names: clip.gone.join(", ") }) : "";
});

let followed = null;
whenever((clip) => clip.followed, (clip) => {
  if (followed === false) look.changed();
  followed = clip.followed;
});
listen();
