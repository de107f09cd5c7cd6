/**
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").Participant} Participant
 * @typedef {import("./types.js").Knock} Knock
 * @typedef {import("./rest.js").Rest} Rest
 *
 * @typedef {{outcome?: string, moveRefused?: string, ringsUntil?: string}} Leaving the enabler's response to a request
 *   to leave
 */

/** The requests about one conference (docs/protocol.md, section 3). All throw what `Rest.send` throws. */
export class ConferenceRequests {
  #rest;
  #conferencesUrl;
  #confId;

  /**
   * @param {object} options
   * @param {Rest} options.rest
   * @param {string} options.conferencesUrl
   * @param {() => string | null} options.confId
   */
  constructor({ rest, conferencesUrl, confId }) {
    this.#rest = rest;
    this.#conferencesUrl = conferencesUrl;
    this.#confId = confId;
  }

  /** Start the conference. @param {object} body @returns {Promise<{modId: string, conference: Conference}>} */
  async create(body) {
    const { headers, body: conference } = await this.#rest.send({ method: "POST", url: this.#conferencesUrl, body });
    return { modId: modIdOf(headers), conference };
  }

  /** @returns {Promise<Conference>} */
  async read() {
    return (await this.#rest.send({ method: "GET", url: this.#url })).body;
  }

  /** @param {string} action @param {object} body @returns {Promise<{modId: string}>} */
  async put(action, body) {
    const { headers } = await this.#rest.send({ method: "PUT", url: this.#url, action, body });
    return { modId: modIdOf(headers) };
  }

  /**
   * Leave the conference, or begin the move that a hold has armed.
   *
   * @param {boolean} [forAll] end the conference for everyone, even if this side has just become the host
   * @returns {Promise<Leaving | null>}
   */
  async leave(forAll = false) {
    return (await this.#rest.send({ method: "DELETE", url: `${this.#url}${forAll ? "?for=all" : ""}` })).body;
  }

  /** @param {string} to a username, or a number as `tel:+15550100` @returns {Promise<Participant>} */
  async invite(to) {
    return (await this.#rest.send({ method: "POST", url: `${this.#url}/participants`, body: { to } })).body;
  }

  /** @param {string} participant its ID @param {{audio?: boolean, video?: boolean}} wanted */
  async mute(participant, wanted) {
    await this.#rest.send({ method: "PUT", url: `${this.#url}/participants/${participant}/mute`, body: wanted });
  }

  /** @param {string} participant its ID @param {boolean} raised */
  async hand(participant, raised) {
    await this.#rest.send({ method: "PUT", url: `${this.#url}/participants/${participant}/hand`, body: { raised } });
  }

  /** @param {string} participant its ID */
  async remove(participant) {
    await this.#rest.send({ method: "DELETE", url: `${this.#url}/participants/${participant}` });
  }

  /** @param {string} participant its ID */
  async makeHost(participant) {
    await this.#rest.send({
      method: "PUT",
      url: `${this.#url}/participants/${participant}/role`,
      body: { role: "host" },
    });
  }

  /** @param {string} participant its ID @param {{stars: number, comment?: string}} rating */
  async rate(participant, rating) {
    await this.#rest.send({ method: "PUT", url: `${this.#url}/participants/${participant}/rating`, body: rating });
  }

  /** @param {boolean} locked */
  async lock(locked) {
    await this.#rest.send({ method: "PUT", url: `${this.#url}/lock`, body: { locked } });
  }

  /** Read the knocks that wait for the host. @returns {Promise<{knock: Knock, expiresAt: string}[]>} */
  async knocks() {
    return (await this.#rest.send({ method: "GET", url: `${this.#url}/knocks` })).body.knocks;
  }

  /** @param {string} knock its ID @param {boolean} admit */
  async answerKnock(knock, admit) {
    await this.#rest.send({ method: "PUT", url: `${this.#url}/knocks/${knock}`, body: { admit } });
  }

  get #url() {
    return `${this.#conferencesUrl}/${this.#confId()}`;
  }
}

/** @param {Headers} headers */
function modIdOf(headers) {
  return headers.get("x-mod-id") ?? "";
}
