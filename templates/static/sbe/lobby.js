import { Refusal } from "./errors.js";

/**
 * @typedef {import("./types.js").Knock} Knock
 * @typedef {import("./rest.js").Rest} Rest
 * @typedef {import("./requests.js").ConferenceRequests} ConferenceRequests
 * @typedef {import("./event-types.js").KnockAnswered} KnockAnswered
 *
 * @typedef {Knock & {expiresAt: string}} WaitingKnock a session that waits for the host, until `expiresAt`
 *
 * @typedef {Pick<KnockAnswered, "knockId" | "admitted" | "reason">} Answer
 *
 * @typedef {"waiting" | "admitted" | "denied" | "expired"} KnockState
 */

/** The sessions that knock at this side's conference. Only the host knows any. */
export class Lobby {
  /** @type {Map<string, WaitingKnock>} */
  #knocks = new Map();
  #requests;

  /** @param {Pick<ConferenceRequests, "knocks" | "answerKnock">} requests */
  constructor(requests) {
    this.#requests = requests;
  }

  /** The knocks that wait, oldest first. */
  get knocks() {
    return [...this.#knocks.values()];
  }

  /** @param {{knock: Knock, expiresAt: string}} event */
  learn({ knock, expiresAt }) {
    this.#knocks.set(knock.id, { ...knock, expiresAt });
  }

  /** @param {string} id */
  forget(id) {
    this.#knocks.delete(id);
  }

  clear() {
    this.#knocks.clear();
  }

  /** Replace the knocks with those that wait at the enabler. */
  async reread() {
    const knocks = await this.#requests.knocks();
    this.clear();
    for (const knock of knocks) this.learn(knock);
  }

  /**
   * Admit or deny. If the enabler refuses because the knock no longer waits, it is forgotten too.
   *
   * @param {string} id
   * @param {boolean} admit
   */
  async answer(id, admit) {
    try {
      await this.#requests.answerKnock(id, admit);
    } catch (error) {
      if (!(error instanceof Refusal && (error.status === 404 || error.status === 409))) throw error;
      this.forget(id);
      throw error;
    }
    this.forget(id);
  }
}

/** This side's own knock at a locked conference. There is at most one. */
export class OwnKnock {
  /** @type {{confId: string, id: string, state: KnockState} | null} */
  #knock = null;
  /** The last event about another knock: its answer may arrive before the knock's ID. @type {Answer | null} */
  #early = null;
  #rest;
  #conferencesUrl;
  #onChange;

  /**
   * @param {object} options
   * @param {Pick<Rest, "send">} options.rest
   * @param {() => string} options.conferencesUrl
   * @param {(state: KnockState | null) => void} options.onChange
   */
  constructor({ rest, conferencesUrl, onChange }) {
    this.#rest = rest;
    this.#conferencesUrl = conferencesUrl;
    this.#onChange = onChange;
  }

  /** @returns {KnockState | null} */
  get state() {
    return this.#knock?.state ?? null;
  }

  /** @param {string} confId */
  async knock(confId) {
    if (this.#knock && this.#knock.confId !== confId) await this.withdraw();
    const { body } = await this.#rest.send({ method: "POST", url: `${this.#conferencesUrl()}/${confId}/knocks` });
    this.#set({ confId, id: body.id, state: "waiting" });
    if (this.#early) this.learn(this.#early);
  }

  async withdraw() {
    const knock = this.#knock;
    this.forget();
    if (knock === null || !["waiting", "admitted"].includes(knock.state)) return;
    await this.#rest.send({ method: "DELETE", url: `${this.#conferencesUrl()}/${knock.confId}/knocks/${knock.id}` });
  }

  /** @param {Answer} event */
  learn(event) {
    const { knockId, admitted, reason } = event;
    this.#early = event;
    if (this.#knock?.id !== knockId) return;
    this.#set({ ...this.#knock, state: admitted ? "admitted" : reason === "denied" ? "denied" : "expired" });
  }

  /** Forget the knock, because it is over. */
  forget() {
    if (this.#knock) this.#set(null);
  }

  /** @param {{confId: string, id: string, state: KnockState} | null} knock */
  #set(knock) {
    this.#knock = knock;
    this.#onChange(this.state);
  }
}
