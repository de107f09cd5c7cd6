import { byId } from "./dom.js";
import { linkTo } from "./invite-dialog.js";
import { preferences } from "./preferences.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("./actions.js").Actions} Actions
 */

const KEYS = new Map(
  Object.entries({
    m: "btn-mic",
    v: "btn-camera",
    s: "btn-screen",
    h: "btn-hold",
    c: "btn-chat",
    t: "btn-timeline",
  }),
);
// No key ends a call: one slip of a finger would end it for all.

/**
 * Connect the buttons and keys of the page with their actions.
 *
 * @param {SbeClient} client
 * @param {Actions} actions
 * @param {object} page
 * @param {() => void} page.onMove
 * @param {() => void} page.onHangUp
 * @param {() => void} page.onQuality
 * @param {() => void} page.onPressed runs after every press
 */
export function connectControls(client, actions, { onMove, onHangUp, onQuality, onPressed }) {
  const { media } = client;
  const buttons = {
    "btn-mic": () => actions.begin((call) => call.mute({ audio: !media.muted })),
    "btn-camera": () => actions.begin((call) => (media.camera ? call.stopVideo() : call.addVideo())),
    "btn-screen": () => actions.begin((call) => (media.screen ? call.stopScreen() : call.shareScreen())),
    "btn-hold": () => actions.begin((call) => (call.state === "on-hold" ? call.resume() : call.hold())),
    "btn-move": onMove,
    "btn-hangup": onHangUp,
    "presenting-stop": () => actions.begin((call) => call.stopScreen()),
    "overlay-resume": () => actions.begin((call) => call.resume()),
    "mod-cancel": () => actions.begin((call) => call.cancel()),
    "moved-done": () => client.dismiss(),
    "ended-done": () => client.dismiss(),
    "ended-again": () => actions.attempt(() => actions.startAgain()),
    "open-start": () => actions.attempt(() => actions.startOpenConference()),
    "lonely-copy": () => actions.copy(linkTo(client.currentCall)),
    "rejoin-join": () => actions.attempt(() => actions.rejoin()),
    "rejoin-leave": () => actions.attempt(() => client.leave()),
    "tag-quality": onQuality,
  };
  for (const [id, press] of Object.entries(buttons)) {
    byId(id).addEventListener("click", ({ currentTarget }) => {
      if (currentTarget instanceof Element && currentTarget.ariaDisabled === "true") return;
      void press();
      onPressed();
    });
  }
  document.addEventListener("keydown", onKey);
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const inField = event.target instanceof Element && event.target.closest("input, select, textarea, dialog") !== null;
  // Single keys can be switched off (WCAG 2.1.4). In a field or a dialog they are no shortcuts.
  if (!preferences.keys || inField || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = document.getElementById(KEYS.get(event.key.toLowerCase()) ?? "");
  if (!button?.checkVisibility()) return;
  // Otherwise the browser would type the key into a field that the button focuses.
  event.preventDefault();
  button.click();
}
