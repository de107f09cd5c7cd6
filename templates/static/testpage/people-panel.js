import { Drawer } from "./drawer.js";
import { shortName } from "./join-link.js";
import { byId, deviceIcon, icon, initials, make, setIcon, setText, showChildren } from "./dom.js";
import { canBeHost } from "./leave-dialog.js";
import { isSilent } from "./words.js";

/**
 * @typedef {import("../sbe/call.js").Call} Call
 * @typedef {import("./tile-menu.js").Target} Target
 *
 * @typedef {{id: string, username: string, device?: string | null}} Knock somebody who waits to be let in
 *
 * @typedef {object} Row one participant, as the panel shows it
 * @property {string} id
 * @property {string} name
 * @property {boolean} mine
 * @property {boolean} host
 * @property {string} detail
 * @property {string} device the icon of its device
 * @property {boolean} muted
 * @property {boolean} sharing
 * @property {boolean} hand whether its hand is raised
 * @property {boolean} canLower whether this side may lower the hand
 * @property {boolean} manageable whether this side may mute and remove it
 * @property {boolean} video whether there is a camera to turn off
 * @property {boolean} canBeHost whether it can become the host
 *
 * @typedef {{element: HTMLElement, draw: (row: Row) => void}} Item
 */

/** The drawer that lists everybody in a conference, and those who wait to be let in. */
export class PeoplePanel {
  #drawer;
  #button = byId("btn-people");
  #lock = /** @type {HTMLInputElement} */ (byId("lock-switch"));
  /** @type {Call | null} */
  #call = null;
  /** @type {Map<string, Item>} */
  #items = new Map();
  /** @type {Map<string, HTMLElement>} */
  #knocks = new Map();
  /** The participants whose hands were raised at the last drawing. @type {Set<string>} */
  #hands = new Set();

  /**
   * @param {import("../sbe/media.js").LocalMedia} media
   * @param {object} actions
   * @param {(change: (call: Call) => Promise<unknown>) => void} actions.begin runs a change of the call
   * @param {(target: Target, button: HTMLElement) => void} actions.onMenu
   * @param {() => void} actions.onInvite
   * @param {(text: string) => void} actions.onNews for screen readers
   * @param {(text: string, knock: {open: () => void, waits: () => boolean}) => void} actions.onKnock `open` opens the
   *   panel, and `waits` tells whether the session still waits and the panel does not show it
   * @param {() => void} actions.onKnocksSeen runs when the panel has been opened
   */
  constructor(media, { begin, onMenu, onInvite, onNews, onKnock, onKnocksSeen }) {
    this.media = media;
    this.begin = begin;
    this.onMenu = onMenu;
    this.onNews = onNews;
    this.onKnock = onKnock;
    this.#drawer = new Drawer("people-panel", "btn-people", (open) => {
      if (open) onKnocksSeen();
      return byId("people-panel-close");
    });
    byId("btn-hand").addEventListener("click", () => begin((call) => call.raiseHand(!isRaised(call.me))));
    byId("people-invite").addEventListener("click", onInvite);
    this.#lock.addEventListener("change", () => {
      const { checked } = this.#lock;
      begin((call) => call.lock(checked));
    });
  }

  /** @param {Call | null} call */
  draw(call) {
    const shows = call !== null && call.hasFocus && ["open", "held", "on-hold", "calling"].includes(call.state);
    this.#button.hidden = !shows;
    byId("btn-hand").hidden = !shows || !takesTurns(call);
    if (call !== this.#call) this.#begin(call);
    if (!shows) return this.#drawer.toggle(false, { focus: false });
    this.#drawHand(call);
    this.#drawRows(rowsOf(call, this.media));
    this.#drawKnocks(call);
    const isHost = call.me?.role === "host";
    byId("people-lock").hidden = !isHost || call.conference?.access !== "open";
    this.#lock.checked = call.locked;
    byId("people-invite").hidden = !isHost;
  }

  /** @param {Call | null} call */
  #begin(call) {
    this.#call = call;
    this.#items.clear();
    this.#knocks.clear();
    this.#hands.clear();
  }

  /** @param {Call} call */
  #drawHand({ me }) {
    const raised = isRaised(me);
    const words = raised ? "Lower your hand" : "Raise your hand";
    const button = byId("btn-hand");
    button.dataset.on = String(raised);
    button.title = words;
    setText(/** @type {Element} */ (button.querySelector(".sr-only")), words);
  }

  /** @param {Row[]} rows */
  #drawRows(rows) {
    const wanted = new Set(rows.map(({ id }) => id));
    for (const id of this.#items.keys()) if (!wanted.has(id)) this.#items.delete(id);
    const elements = rows.map((row) => {
      const item = this.#items.get(row.id) ?? this.#make(row.id);
      item.draw(row);
      return item.element;
    });
    showChildren(byId("people-here"), elements);
    this.#tellHands(rows);
    setText(byId("people-count"), String(rows.length));
    setText(byId("people-panel-title"), `People (${rows.length})`);
  }

  /** @param {Row[]} rows */
  #tellHands(rows) {
    const raised = rows.filter(({ hand }) => hand);
    for (const { id, name, mine } of raised)
      if (!mine && !this.#hands.has(id)) this.onNews(`${shortName(name)} raised a hand`);
    this.#hands = new Set(raised.map(({ id }) => id));
  }

  /** @param {Call} call */
  #drawKnocks(call) {
    const { knocks } = call;
    const waiting = new Set(knocks.map(({ id }) => id));
    for (const id of this.#knocks.keys()) if (!waiting.has(id)) this.#knocks.delete(id);
    for (const knock of knocks) {
      if (this.#knocks.has(knock.id)) continue;
      this.#knocks.set(knock.id, this.#makeKnock(knock));
      if (this.#drawer.isOpen) continue;
      const waits = () => this.#knocks.has(knock.id) && !this.#drawer.isOpen;
      this.onKnock(`${shortName(knock.username)} asks to join.`, { open: () => this.#drawer.toggle(true), waits });
    }
    byId("people-waiting").hidden = knocks.length === 0;
    showChildren(byId("people-knocks"), [...this.#knocks.values()]);
    const here = Number(byId("people-count").textContent);
    byId("people-count").dataset.waiting = String(knocks.length > 0);
    setText(
      /** @type {Element} */ (this.#button.querySelector(".sr-only")),
      [`People, ${here} here`, ...(knocks.length > 0 ? [`${knocks.length} waiting`] : [])].join(", "),
    );
  }

  /** @param {Knock} knock */
  #makeKnock({ id, username, device }) {
    const deny = make("button", {
      "type": "button",
      "class": "button quiet small",
      "aria-label": `Deny ${shortName(username)}`,
    });
    const admit = make("button", {
      "type": "button",
      "class": "button primary small",
      "aria-label": `Admit ${shortName(username)}`,
      "data-testid": `admit-${username}`,
    });
    deny.append("Deny");
    admit.append("Admit");
    deny.addEventListener("click", () => this.begin((call) => call.deny(id)));
    admit.addEventListener("click", () => this.begin((call) => call.admit(id)));
    return make(
      "li",
      { "class": "attendee", "data-testid": `knock-${username}` },
      make("span", { "class": "avatar", "aria-hidden": "true" }, initials(username)),
      make("div", { class: "person-text", title: username }, ...nameLines(shortName(username), device ?? "")),
      deny,
      admit,
    );
  }

  /** @param {string} id @returns {Item} */
  #make(id) {
    const avatar = make("span", { "class": "avatar", "aria-hidden": "true" });
    const name = make("p", { class: "person-name" });
    const detail = make("p", { class: "person-detail" });
    const device = icon("device");
    const [sharing, muted] = [sign("screen", "sharing a screen"), sign("mic-off", "microphone off")];
    const hand = make("button", { type: "button", class: "icon-button hand" }, icon("hand"));
    const menu = make("button", { "type": "button", "class": "icon-button", "aria-haspopup": "menu" }, icon("more"));
    /** @type {Row | null} */
    let shown = null;
    hand.addEventListener("click", () => {
      if (shown?.mine) this.begin((call) => call.raiseHand(false));
      else if (shown?.canLower) this.begin((call) => call.lowerHand(id));
    });
    menu.addEventListener("click", () => {
      if (!shown) return;
      const audio = !shown.muted;
      this.onMenu(
        { participant: id, name: shown.name, audio, video: shown.video, canBeHost: shown.canBeHost, pin: null },
        menu,
      );
    });
    const element = make(
      "li",
      { class: "attendee" },
      avatar,
      make("div", { class: "person-text" }, name, make("p", { class: "attendee-detail" }, device, detail)),
      hand,
      sharing,
      muted,
      menu,
    );
    const draw = (/** @type {Row} */ row) => {
      shown = row;
      element.dataset.testid = `attendee-${row.mine ? "self" : row.name}`;
      element.dataset.hand = String(row.hand);
      setText(avatar, initials(row.name));
      const short = shortName(row.name);
      setText(name, row.mine ? `${short} (you)` : short);
      name.title = row.name;
      setText(detail, row.detail);
      setIcon(/** @type {Element} */ (device.parentElement), row.device);
      sharing.hidden = !row.sharing;
      muted.hidden = !row.muted;
      hand.hidden = !row.hand;
      hand.ariaDisabled = String(!row.canLower);
      hand.title = row.canLower ? "Lower the hand" : "Raised hand";
      hand.setAttribute("aria-label", row.canLower ? `Lower the hand of ${short}` : `${short} raised a hand`);
      menu.hidden = !row.manageable;
      menu.setAttribute("aria-label", `More for ${short}`);
    };
    const item = { element, draw };
    this.#items.set(id, item);
    return item;
  }
}

/**
 * Return everybody in the conference. Raised hands come first, in the order in which they were raised, then this side.
 *
 * @param {Pick<Call, "me" | "others">} call
 * @param {{screen?: MediaStreamTrack | null, microphone?: MediaStreamTrack | null}} [media] the own tracks
 * @returns {Row[]}
 */
export function rowsOf({ me, others }, media = {}) {
  const isHost = me?.role === "host";
  const everyone = [
    ...(me
      ? [
          {
            ...me,
            mine: true,
            sharing: Boolean(media.screen),
            video: false,
            interrupted: false,
            weak: false,
            noMicrophone: media.microphone === null,
          },
        ]
      : []),
    ...others.map((other) => ({ ...other, mine: false, sharing: other.screen !== null, video: other.camera !== null })),
  ];
  const rows = everyone.map((each) => ({
    at: each.handRaisedAt ?? null,
    row: {
      id: each.id,
      name: each.username || "Somebody",
      mine: each.mine,
      host: each.role === "host",
      detail: [each.role === "host" ? "Host" : "", stateWords(each), each.device ?? ""].filter(Boolean).join(" · "),
      device: deviceIcon(each.device ?? ""),
      muted: isSilent(each) && each.state !== "invited",
      sharing: each.sharing,
      hand: isRaised(each),
      canLower: each.mine || isHost,
      manageable: isHost && !each.mine,
      video: each.video && !each.muted.video,
      canBeHost: !each.mine && canBeHost(each),
    },
  }));
  const raised = rows.filter(({ at }) => at !== null).sort((a, b) => String(a.at).localeCompare(String(b.at)));
  return [...raised, ...rows.filter(({ at }) => at === null)].map(({ row }) => row);
}

/**
 * @param {{state: string, interrupted: boolean, weak: boolean, away?: boolean, unreachable?: boolean,
 *   noMicrophone?: boolean}} participant
 */
function stateWords({ state, interrupted, weak, away, unreachable, noMicrophone }) {
  if (state === "invited") return unreachable ? "Not here at the moment" : "Ringing…";
  if (away) return "Away";
  if (state === "on-hold") return "On hold";
  if (state === "moving") return "Moving to another device";
  if (interrupted) return "Connection interrupted";
  return weak ? "Weak connection" : noMicrophone ? "No microphone" : "";
}

/** Whether hands make sense: two people in a call need none. @param {Call} call */
function takesTurns({ others, conference, state }) {
  return state !== "calling" && (others.length > 1 || conference?.access === "open");
}

/** @param {{handRaisedAt?: string | null} | null} participant */
function isRaised(participant) {
  return (participant?.handRaisedAt ?? null) !== null;
}

/** @param {string} name @param {string} detail */
function nameLines(name, detail) {
  return [
    make("p", { class: "person-name" }, name),
    ...(detail ? [make("p", { class: "person-detail" }, detail)] : []),
  ];
}

/** An icon with words for screen readers. @param {string} name @param {string} words */
function sign(name, words) {
  return make("span", { class: "sign", title: words }, icon(name), make("span", { class: "sr-only" }, words));
}
