import { byId, make, setText } from "./dom.js";
import { Drawer } from "./drawer.js";
import { shortName } from "./join-link.js";
import { linkParts } from "./links.js";

/**
 * @typedef {import("../sbe/call.js").Call} Call
 * @typedef {import("../sbe/chat.js").ChatMessage} ChatMessage
 */

// Messages that a participant sends within this time share one heading.
const TOGETHER_MS = 120_000;

/** The drawer with the chat of a conference. */
export class ChatDrawer {
  #drawer;
  #button = byId("btn-chat");
  #log = byId("chat-log");
  #input = /** @type {HTMLInputElement} */ (byId("chat-input"));
  /** @type {Call | null} */
  #call = null;
  #drawn = 0;
  #read = 0;
  /** The names of all participants, also of those who have left. @type {Map<string, string>} */
  #names = new Map();
  /** @type {ChatMessage | null} */
  #last = null;

  /**
   * @param {object} actions
   * @param {(name: string) => void} actions.onUnseen
   */
  constructor({ onUnseen }) {
    this.onUnseen = onUnseen;
    this.#drawer = new Drawer("chat", "btn-chat", () => this.#onToggle());
    byId("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#call?.say(this.#input.value)) this.#input.value = "";
    });
  }

  #onToggle() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#drawBadge();
    return this.#input;
  }

  /** @param {Call | null} call */
  draw(call) {
    const shows = call !== null && call.hasFocus && ["open", "held", "on-hold", "calling"].includes(call.state);
    this.#button.hidden = !shows;
    if (call !== this.#call) this.#begin(call);
    if (!shows) this.#drawer.toggle(false, { focus: false });
    if (!call) return;
    for (const { id, username } of call.conference?.participants ?? []) this.#names.set(id, username);
    const { messages, open } = call.chat;
    for (const message of messages.slice(this.#drawn)) this.#add(message);
    this.#drawn = messages.length;
    byId("chat-empty").hidden = messages.length > 0;
    byId("chat-note").hidden = open;
    /** @type {HTMLButtonElement} */ (byId("chat-send")).disabled = !open;
    this.#drawBadge();
  }

  /** @param {Call | null} call */
  #begin(call) {
    this.#call = call;
    this.#drawn = this.#read = 0;
    this.#last = null;
    this.#names.clear();
    this.#log.replaceChildren();
  }

  /** @param {ChatMessage} message */
  #add(message) {
    const { from, text, at, mine } = message;
    const name = mine ? "You" : shortName(this.#names.get(from) || "Somebody");
    const goesOn = this.#last?.from === from && at.getTime() - this.#last.at.getTime() < TOGETHER_MS;
    this.#last = message;
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 48;
    const head = make(
      "p",
      { class: goesOn ? "sr-only" : "message-head" },
      make("strong", {}, name),
      " ",
      make("time", {}, at.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" })),
    );
    this.#log.append(
      make(
        "div",
        { "class": "message", "data-testid": "chat-message", "data-mine": String(mine) },
        head,
        make("p", { class: "message-text", dir: "auto" }, ...linkParts(text).map(linked)),
      ),
    );
    if (atEnd || mine) this.#log.scrollTop = this.#log.scrollHeight;
    if (!mine && !this.#drawer.isOpen) this.onUnseen(name);
  }

  #drawBadge() {
    if (this.#drawer.isOpen) this.#read = this.#drawn;
    const unread = this.#drawn - this.#read;
    byId("chat-badge").hidden = unread === 0;
    setText(byId("chat-badge"), unread > 9 ? "9+" : String(unread));
    setText(
      /** @type {Element} */ (this.#button.querySelector(".sr-only")),
      unread === 0 ? "Chat" : `Chat, ${unread} unread`,
    );
  }
}

/** @param {{text: string, href?: string}} part */
function linked({ text, href }) {
  if (href === undefined) return text;
  // `bdi` keeps the address and the text around it from reordering each other.
  return make("bdi", {}, make("a", { href, target: "_blank", rel: "noopener noreferrer nofollow", title: href }, text));
}
