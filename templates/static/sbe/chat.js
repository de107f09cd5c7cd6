import { Emitter } from "./emitter.js";
import { randomKey } from "./rest.js";

/**
 * @typedef {object} ChatMessage
 * @property {string} id
 * @property {string} from the sender's participant ID, as the sender states it
 * @property {string} text
 * @property {Date} at when it was sent or received here
 * @property {boolean} mine
 */

const LONGEST = 4_000;
const KEPT = 500;

/**
 * The chat of a conference: the messages on a data channel since this side joined. The focus relays the messages and
 * stores none.
 *
 * @extends {Emitter<{change: null}>}
 */
export class Chat extends Emitter {
  /** @type {ChatMessage[]} */
  messages = [];
  /** @type {RTCDataChannel | null} */
  #channel = null;
  #isPresent;

  /** @param {(participant: string) => boolean} isPresent whether another participant has this ID */
  constructor(isPresent) {
    super();
    this.#isPresent = isPresent;
  }

  get open() {
    return this.#channel?.readyState === "open";
  }

  /** Use this channel from now on. @param {RTCDataChannel} channel */
  attach(channel) {
    if (channel === this.#channel) return;
    this.#channel = channel;
    channel.onmessage = ({ data }) => this.#receive(data);
    channel.onopen = channel.onclose = () => this.emit("change", null);
    this.emit("change", null);
  }

  /**
   * @param {string} from this side's participant ID
   * @param {string} text
   * @returns {boolean} false if it could not be sent
   */
  send(from, text) {
    const words = text.trim().slice(0, LONGEST);
    if (!words || !this.#channel || !this.open) return false;
    const id = randomKey();
    this.#channel.send(JSON.stringify({ id, from, text: words }));
    this.#keep({ id, from, text: words, at: new Date(), mine: true });
    return true;
  }

  /** Keep a message, unless it is unreadable or names no participant as its sender. @param {unknown} data */
  #receive(data) {
    try {
      const { id, from, text } = JSON.parse(String(data));
      if (typeof text !== "string" || typeof from !== "string" || !text.trim() || !this.#isPresent(from)) return;
      this.#keep({ id: String(id ?? ""), from, text: text.slice(0, LONGEST), at: new Date(), mine: false });
    } catch {
      // A message of another application on a channel of this name.
    }
  }

  /** @param {ChatMessage} message */
  #keep(message) {
    this.messages = [...this.messages, message].slice(-KEPT);
    this.emit("change", null);
  }
}
