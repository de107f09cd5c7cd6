import { styleSheet } from "./sbe-call-style.js";

/**
 * @typedef {"mic" | "mic-off" | "camera" | "camera-off" | "screen" | "hold" | "resume" | "phone" | "hangup"} Icon
 *
 * @typedef {object} TileModel
 * @property {string} id
 * @property {string} name
 * @property {string} [username] for the avatar, if the name is another one
 * @property {MediaStreamTrack | null} picture
 * @property {MediaStreamTrack | null} sound
 * @property {boolean} isScreen
 * @property {boolean} speaking
 * @property {boolean} muted
 * @property {string} veil a text that covers the picture, or empty
 *
 * @typedef {object} Model all that is shown
 * @property {string} state
 * @property {boolean} inCall whether to show the participants
 * @property {string} name of the other side, for the avatar
 * @property {string} title also for screen readers, in a call as well
 * @property {string} detail
 * @property {boolean} canRetry whether to offer another attempt to connect
 * @property {string} callLabel empty if there is nobody to call
 * @property {string} ringing the name of a caller, or empty
 * @property {string} knocking the name of somebody who asks to be let in, or empty
 * @property {string} error
 * @property {TileModel[]} tiles
 * @property {TileModel} self
 * @property {boolean} muted
 * @property {boolean} camera
 * @property {boolean} screen
 * @property {boolean} canShare
 * @property {boolean} onHold
 *
 * @typedef {Record<"call" | "accept" | "decline" | "mute" | "camera" | "screen" | "hold" | "hangUp" | "dismiss" |
 *   "admit" | "deny" | "closeError" | "retry", () => void>} Actions
 */

/** Paths in a square of 24. @type {Record<Icon, string>} */
const ICONS = {
  "mic": "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3",
  "mic-off":
    "M15 9.8V6a3 3 0 0 0-5.7-1.3M9 9v2a3 3 0 0 0 4.6 2.5M5.5 11.5a6.5 6.5 0 0 0 10.6 5M18.3 13.2c.1-.5.2-1.1.2-1.7M12 18v3M4 4l16 16",
  "camera":
    "M5.5 6H13a2.5 2.5 0 0 1 2.5 2.5v7A2.5 2.5 0 0 1 13 18H5.5A2.5 2.5 0 0 1 3 15.5v-7A2.5 2.5 0 0 1 5.5 6zM15.5 10.7l5.5-3.7v10l-5.5-3.7",
  "camera-off":
    "M10 6h3a2.5 2.5 0 0 1 2.5 2.5v2.2l5.5-3.7v10M15.5 15.5A2.5 2.5 0 0 1 13 18H5.5A2.5 2.5 0 0 1 3 15.5v-7A2.5 2.5 0 0 1 5.5 6M4 4l16 16",
  "screen":
    "M5.5 4.5h13A2.5 2.5 0 0 1 21 7v7a2.5 2.5 0 0 1-2.5 2.5h-13A2.5 2.5 0 0 1 3 14V7a2.5 2.5 0 0 1 2.5-2.5zM9 20h6M12 13.5v-5M9.7 10.5 12 8.2l2.3 2.3",
  "hold": "M9 6v12M15 6v12",
  "resume": "M8 5.5v13l10.5-6.5z",
  "phone":
    "M8.3 4H6a2 2 0 0 0-2 2.2A15.5 15.5 0 0 0 17.8 20a2 2 0 0 0 2.2-2v-2.3a1.6 1.6 0 0 0-1.3-1.6l-2.2-.5a1.6 1.6 0 0 0-1.6.5l-.9 1a12 12 0 0 1-5.1-5.1l1-.9c.4-.4.6-1 .5-1.6l-.5-2.2A1.6 1.6 0 0 0 8.3 4z",
  "hangup":
    "M12 9.2c3.2 0 6 .8 8.2 2.3.7.5 1 1.3.8 2.1l-.4 1.7c-.2.8-1 1.3-1.8 1.1l-2.3-.5a1.6 1.6 0 0 1-1.3-1.5v-1.6a13 13 0 0 0-6.4 0v1.6c0 .7-.5 1.4-1.3 1.5l-2.3.5c-.8.2-1.6-.3-1.8-1.1L3 13.6c-.2-.8.1-1.6.8-2.1C6 10 8.8 9.2 12 9.2z",
};

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element. `class` also becomes the name of the CSS part.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (attributes["class"]) element.setAttribute("part", attributes["class"]);
  element.append(...children);
  return element;
}

/** @param {Icon} name */
function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  for (const [attribute, value] of [
    ["viewBox", "0 0 24 24"],
    ["fill", "none"],
    ["stroke", "currentColor"],
    ["stroke-width", "1.75"],
    ["stroke-linecap", "round"],
    ["stroke-linejoin", "round"],
    ["aria-hidden", "true"],
  ])
    svg.setAttribute(attribute, value);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Return a name without an addition in parentheses, such as "(guest 1234)". @param {string} name */
export function shortName(name) {
  return name.replace(/(?<=\S)\s*\(.*\)$/, "");
}

/** @param {string} name */
function initials(name) {
  const words = shortName(name)
    .split(/[\s._-]+/)
    .filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join("");
}

/** @param {string} part @param {string} label @param {Icon} name @param {() => void} act */
function labelled(part, label, name, act) {
  const button = make("button", { type: "button", class: part }, icon(name), label);
  button.onclick = act;
  return button;
}

/** A round button with an icon. Its name says what a press does. */
class Tool {
  #shown = "";

  /** @param {string} part @param {() => void} act */
  constructor(part, act) {
    this.button = make("button", { type: "button", class: part });
    this.button.onclick = act;
  }

  /** @param {string} label @param {Icon} name @param {boolean} [active] */
  show(label, name, active = false) {
    this.button.dataset["active"] = String(active);
    if (this.#shown === label + name) return;
    this.#shown = label + name;
    this.button.replaceChildren(icon(name));
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
  }
}

/** One participant, or one screen: the picture or an avatar, and the sound. */
class Tile {
  #video = make("video", { class: "video", autoplay: "", playsinline: "" });
  #audio = make("audio", { autoplay: "" });
  #avatar = make("div", { "class": "avatar", "aria-hidden": "true" });
  #name = make("span");
  #mutedIcon = icon("mic-off");
  #veil = make("div", { class: "veil" });
  #onBlocked;

  /** @param {string} part @param {() => void} onBlocked called if the browser does not play the sound yet */
  constructor(part, onBlocked) {
    this.#onBlocked = onBlocked;
    this.#video.muted = true;
    const caption = make("div", { class: "caption" }, this.#mutedIcon, this.#name);
    this.element = make(
      "div",
      { class: part, role: "group" },
      this.#avatar,
      this.#video,
      this.#audio,
      this.#veil,
      caption,
    );
  }

  /** @param {TileModel} model */
  update({ name, username = name, picture, sound, isScreen, speaking, muted, veil }) {
    this.element.setAttribute("aria-label", name);
    this.element.classList.toggle("screen", isScreen);
    this.element.toggleAttribute("data-speaking", speaking);
    this.#name.textContent = name;
    this.#avatar.textContent = initials(username);
    this.element.toggleAttribute("data-veiled", veil !== "");
    this.element.toggleAttribute("data-picture", picture !== null);
    this.#mutedIcon.toggleAttribute("hidden", !muted);
    this.#veil.hidden = veil === "";
    this.#veil.textContent = veil;
    this.#video.hidden = picture === null;
    play(this.#video, picture)?.catch(() => undefined);
    play(this.#audio, sound)?.catch(() => this.#onBlocked());
  }

  /** Play again, after a gesture of the user. */
  unblock() {
    void this.#audio.play().catch(() => undefined);
  }

  remove() {
    play(this.#video, null);
    play(this.#audio, null);
    this.element.remove();
  }
}

/**
 * @param {HTMLMediaElement} element
 * @param {MediaStreamTrack | null} track
 * @returns {Promise<void> | undefined} undefined if nothing new is to be played
 */
function play(element, track) {
  const stream = /** @type {MediaStream | null} */ (element.srcObject);
  if ((stream?.getTracks()[0] ?? null) === track) return undefined;
  element.srcObject = track ? new MediaStream([track]) : null;
  return track
    ? element.play().catch((error) => (error.name === "NotAllowedError" ? Promise.reject(error) : undefined))
    : undefined;
}

/** The elements inside <sbe-call>. `update` makes them show a model. */
export class CallView {
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  #root;
  #self;
  #tools;
  #grid = make("div", { class: "grid" });
  #avatar = make("div", { "class": "avatar", "aria-hidden": "true" });
  #announcer = make("p", { class: "announcer", role: "status" });
  #title = make("p", { class: "title" });
  #detail = make("p", { class: "detail" });
  #choices = make("div", { class: "choices" });
  #panel = make("div", { class: "panel" }, this.#avatar, this.#title, this.#detail, this.#choices);
  #stage;
  #toolbar;
  #ringText = make("span", { role: "alert" });
  #ring;
  #knockText = make("span", { role: "alert" });
  #knock;
  #errorText = make("span", { role: "alert" });
  #error;
  #blocked;
  #buttons;

  /** @param {ShadowRoot} root @param {Actions} actions */
  constructor(root, actions) {
    this.#root = root;
    root.adoptedStyleSheets = [styleSheet()];
    this.#self = new Tile("tile own", () => undefined);
    this.#tools = {
      mute: new Tool("mute", actions.mute),
      camera: new Tool("camera", actions.camera),
      screen: new Tool("share", actions.screen),
      hold: new Tool("hold", actions.hold),
      hangUp: new Tool("hangup", actions.hangUp),
    };
    this.#stage = make("div", { class: "stage" }, this.#grid, this.#self.element);
    const tools = Object.values(this.#tools).map(({ button }) => button);
    this.#toolbar = make("div", { "class": "toolbar", "role": "toolbar", "aria-label": "Call" }, ...tools);
    this.#buttons = {
      call: labelled("primary", "", "phone", actions.call),
      accept: labelled("primary accept", "Accept", "phone", actions.accept),
      decline: labelled("danger decline", "Decline", "hangup", actions.decline),
      cancel: labelled("danger cancel", "Cancel", "hangup", actions.hangUp),
      retry: labelled("primary retry", "Try again", "phone", actions.retry),
      dismiss: labelled("dismiss", "Close", "hangup", actions.dismiss),
    };
    for (const button of [this.#buttons.retry, this.#buttons.dismiss]) button.querySelector("svg")?.remove();
    const instead = labelled("primary", "Hang up and accept", "phone", actions.accept);
    const notNow = labelled("danger", "Decline", "hangup", actions.decline);
    this.#ring = make("div", { class: "banner" }, this.#ringText, instead, notNow);
    const admit = labelled("primary", "Admit", "phone", actions.admit);
    const deny = labelled("deny", "Deny", "hangup", actions.deny);
    for (const button of [admit, deny]) button.querySelector("svg")?.remove();
    this.#knock = make("div", { class: "banner" }, this.#knockText, admit, deny);
    const close = make("button", { type: "button" }, "Close");
    close.onclick = actions.closeError;
    this.#error = make("div", { class: "banner error" }, this.#errorText, close);
    const unblock = make("button", { type: "button", class: "primary" }, "Play sound");
    unblock.onclick = () => this.#unblock();
    this.#blocked = make("div", { class: "banner" }, "The browser has stopped the sound.", unblock);
    this.#blocked.hidden = true;
    root.append(
      make(
        "div",
        { class: "frame" },
        this.#announcer,
        this.#error,
        this.#ring,
        this.#knock,
        this.#blocked,
        this.#panel,
        this.#stage,
        this.#toolbar,
      ),
    );
    this.#choices.append(...Object.values(this.#buttons));
  }

  /** @param {Model} model */
  update(model) {
    const focused = this.#root.activeElement;
    const { state, inCall } = model;
    this.#panel.hidden = inCall;
    this.#stage.hidden = this.#toolbar.hidden = !inCall;
    say(this.#announcer, model.title);
    this.#updatePanel(model);
    // The panel itself shows a call that rings while there is no other.
    const second = state === "ringing" ? "" : model.ringing;
    this.#ring.hidden = second === "";
    say(this.#ringText, second && `${second} is calling`);
    this.#knock.hidden = model.knocking === "";
    say(this.#knockText, model.knocking && `${model.knocking} asks to join`);
    this.#error.hidden = model.error === "";
    say(this.#errorText, model.error);
    this.#updateTiles(inCall ? model.tiles : []);
    this.#self.update(inCall ? model.self : { ...model.self, picture: null });
    this.#updateTools(model);
    if (!inCall) this.#blocked.hidden = true;
    // A control that had the focus has gone: the keyboard continues with the first control that is shown.
    if (focused && !isShown(focused)) [...this.#root.querySelectorAll("button")].find(isShown)?.focus();
  }

  /** @param {Model} model */
  #updatePanel({ state, name, title, detail, callLabel, canRetry }) {
    this.#panel.dataset["state"] = state;
    this.#avatar.textContent = initials(name);
    this.#avatar.hidden = name === "";
    say(this.#title, title);
    say(this.#detail, detail);
    const { call, accept, decline, cancel, retry, dismiss } = this.#buttons;
    call.hidden = callLabel === "" || !["idle", "ended"].includes(state);
    call.lastChild?.replaceWith(callLabel);
    accept.hidden = decline.hidden = state !== "ringing";
    retry.hidden = !canRetry;
    cancel.hidden = state !== "calling";
    dismiss.hidden = !["ended", "moved"].includes(state);
  }

  /** @param {TileModel[]} models */
  #updateTiles(models) {
    const ids = new Set(models.map(({ id }) => id));
    for (const [id, tile] of this.#tiles)
      if (!ids.has(id)) {
        tile.remove();
        this.#tiles.delete(id);
      }
    for (const model of models) {
      let tile = this.#tiles.get(model.id);
      if (!tile) {
        tile = new Tile("tile", () => (this.#blocked.hidden = false));
        this.#tiles.set(model.id, tile);
        if (model.isScreen) this.#grid.prepend(tile.element);
        else this.#grid.insertBefore(tile.element, this.#ownInGrid);
      }
      tile.update(model);
    }
    this.#arrange(models);
  }

  get #ownInGrid() {
    return this.#self.element.parentNode === this.#grid ? this.#self.element : null;
  }

  /** Beside a single picture, the own tile lies in a corner of it. Otherwise it is one of the tiles. @param {TileModel[]} models */
  #arrange(models) {
    const alone = models.length < 2;
    const people = models.filter(({ isScreen }) => !isScreen).length + (alone ? 0 : 1);
    this.#grid.dataset["count"] = people > 4 ? "many" : String(people);
    this.#grid.toggleAttribute(
      "data-screen",
      models.some(({ isScreen }) => isScreen),
    );
    const own = this.#self.element;
    own.classList.toggle("pip", alone);
    const place = alone ? this.#stage : this.#grid;
    if (own.parentNode !== place) place.append(own);
  }

  /** @param {Model} model */
  #updateTools({ muted, camera, screen, canShare, onHold }) {
    const { mute, camera: cameraTool, screen: screenTool, hold, hangUp } = this.#tools;
    mute.show(muted ? "Unmute" : "Mute", muted ? "mic-off" : "mic", muted);
    cameraTool.show(camera ? "Turn camera off" : "Turn camera on", camera ? "camera" : "camera-off", !camera);
    screenTool.show(screen ? "Stop sharing" : "Share screen", "screen", screen);
    screenTool.button.hidden = !canShare;
    hold.show(onHold ? "Resume" : "Hold", onHold ? "resume" : "hold", onHold);
    hangUp.show("Hang up", "hangup");
  }

  #unblock() {
    this.#blocked.hidden = true;
    for (const tile of this.#tiles.values()) tile.unblock();
  }
}

/** Change a text only if it differs, so that a screen reader speaks it once. @param {HTMLElement} element @param {string} text */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element */
function isShown(element) {
  return element.getClientRects().length > 0;
}
