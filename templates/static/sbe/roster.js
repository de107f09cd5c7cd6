import { Emitter } from "./emitter.js";

/**
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").Participant} Participant
 * @typedef {import("./event-types.js").ActiveSpeaker} ActiveSpeaker
 * @typedef {import("./event-types.js").Quality} Quality
 * @typedef {import("./peer.js").RemoteMedia} RemoteMedia
 *
 * @typedef {import("./peer.js").PausedVideos} PausedVideos
 * @typedef {import("./reception.js").Reception} Reception
 *
 * @typedef {{speaking: boolean, interrupted: boolean, weak: boolean, away: boolean,
 *   unreachable: boolean}} Condition
 * `interrupted`: the focus receives nothing from the participant. `weak`: its connection to the focus loses too many
 * packets. `away`: its page has closed, or is reloading. `unreachable`: no device rang when it was invited.
 *
 * @typedef {Participant & RemoteMedia & {paused?: PausedVideos} & Condition & Reception} RemoteParticipant another
 * participant, with the tracks that arrive from it now
 */

// The focus gives up an interrupted connection after 15 s, and it repeats its "poor" reports. So a report that is older
// than this no longer counts.
const TROUBLE_MS = 20_000;

/** @type {Reception} */
const NOTHING_EXPECTED = Object.freeze({ receiving: "idle", signal: null });
/** @type {Reception} */
const SILENT = Object.freeze({ receiving: "silent", signal: 0 });

/**
 * The participants of one conference as last reported, which of them is this side, and the state of each connection.
 *
 * The event `change` reports changes that no caller made. After a method call, the caller itself must expect a change.
 *
 * @extends {Emitter<{change: null}>}
 */
export class Roster extends Emitter {
  /** @type {Conference | null} */
  conference = null;
  /** The participant ID of the active speaker. Only a focus reports the speaker. @type {string | null} */
  speaker = null;
  #myId = "";
  #sessionId;
  #tracksOf;
  /**
   * The participants whose connection to the focus is in trouble.
   *
   * @type {Map<string, {connection: "poor" | "disconnected", timer: ReturnType<typeof setTimeout>}>}
   */
  #troubles = new Map();
  /** What arrives from each participant. @type {Map<string, Reception>} */
  #receptions = new Map();

  /** The IDs of participants without a ringing device when this side invited them. @type {Set<string>} */
  #unreachable = new Set();

  /**
   * @param {object} options
   * @param {() => string} options.sessionId the session of this side
   * @param {(participant: string) => RemoteMedia & {paused?: PausedVideos}} options.tracksOf the tracks that arrive from a participant, by ID
   */
  constructor({ sessionId, tracksOf }) {
    super();
    this.#sessionId = sessionId;
    this.#tracksOf = tracksOf;
  }

  /** This side's participant. */
  get me() {
    return this.find(this.#myId);
  }

  /** The first other participant who is present, or else the first who has left: a peer call still shows their name. */
  get other() {
    const others = this.#everyoneElse;
    return others.find((participant) => participant.state !== "left") ?? others[0] ?? null;
  }

  /**
   * The other participants who are present or invited, in the order in which they joined, with their tracks.
   *
   * @returns {RemoteParticipant[]}
   */
  get others() {
    const others = this.#everyoneElse.filter(({ state }) => state !== "left");
    return others.map((participant) => {
      const { id } = participant;
      const trouble = this.#troubles.get(id)?.connection;
      const reception = this.#receptions.get(id) ?? NOTHING_EXPECTED;
      const { away = false } = participant;
      return {
        ...participant,
        ...this.#tracksOf(id),
        // The last packets of a page that has closed may still be recent.
        ...(away && reception.signal ? SILENT : reception),
        away,
        speaking: id === this.speaker,
        interrupted: trouble === "disconnected",
        weak: trouble === "poor",
        unreachable: participant.state === "invited" && this.#unreachable.has(id),
      };
    });
  }

  /** Whether all other present participants are on hold or moving, so that none of them sends anything. */
  get isHeld() {
    const present = this.#everyoneElse.filter(({ state }) => !["left", "invited"].includes(state));
    return present.length > 0 && present.every(({ state }) => state === "on-hold" || state === "moving");
  }

  /** Whether another device of the user has taken over this side's participant. */
  get isTakenOver() {
    return this.me !== null && this.me.sessionId !== null && this.me.sessionId !== this.#sessionId();
  }

  /** @param {string} id */
  find(id) {
    return this.conference?.participants.find((participant) => participant.id === id) ?? null;
  }

  /** @param {string} id */
  isMe(id) {
    return id === this.#myId;
  }

  get #everyoneElse() {
    return this.conference?.participants.filter(({ id }) => id !== this.#myId) ?? [];
  }

  /**
   * Replace the roster's state with a snapshot.
   *
   * @param {Conference} conference
   * @returns {Participant | undefined} this side's participant, if the snapshot has one with this session
   */
  learn(conference) {
    this.conference = conference;
    conference.participants.forEach((participant) => this.#noteReachable(participant));
    const mine = conference.participants.filter(({ sessionId }) => sessionId === this.#sessionId());
    // A user who is invited again after leaving has two participants. The older one stays `left`.
    const current = mine.find(({ state }) => state !== "left") ?? mine.at(-1);
    if (current) this.#myId = current.id;
    return current;
  }

  /**
   * Add or replace one participant. The order of the other participants stays the same.
   *
   * @param {Participant} participant
   */
  learnParticipant(participant) {
    const { conference } = this;
    if (!conference) return;
    this.#noteReachable(participant);
    const { participants } = conference;
    const isNew = participants.every(({ id }) => id !== participant.id);
    const now = isNew
      ? [...participants, participant]
      : participants.map((each) => (each.id === participant.id ? participant : each));
    this.conference = { ...conference, participants: now };
    // A participant on hold says nothing. Its earlier report may be old when it resumes.
    if (participant.id === this.speaker && participant.state !== "accepted") this.speaker = null;
    if (participant.sessionId === this.#sessionId()) this.#myId = participant.id;
  }

  /**
   * Store that the role of the host has passed from one participant to another.
   *
   * @param {string} from the ID of the earlier host
   * @param {string} to the ID of the new host
   */
  learnHost(from, to) {
    for (const [id, role] of [
      [from, "guest"],
      [to, "host"],
    ]) {
      const participant = this.find(id);
      if (participant) this.learnParticipant({ ...participant, role });
    }
  }

  /** Store whether the conference is locked. @param {boolean} locked */
  learnLock(locked) {
    if (this.conference) this.conference = { ...this.conference, locked };
  }

  /** Store what arrives from each participant. @param {Map<string, Reception>} receptions */
  learnReceptions(receptions) {
    const [was, is] = [this.#receptions, receptions].map((each) => JSON.stringify([...each]));
    this.#receptions = receptions;
    if (was !== is) this.emit("change", null);
  }

  /** Only the answer to an invitation says how many devices ring. @param {Participant} participant */
  #noteReachable({ id, reachable }) {
    if (reachable === 0) this.#unreachable.add(id);
  }

  /** Store the active speaker. @param {ActiveSpeaker} event */
  learnSpeaker({ participant }) {
    this.speaker = participant;
  }

  /**
   * Store whether a participant's connection to the focus is broken, poor or fine. The event that ends the trouble may
   * get lost, so trouble is forgotten after a while.
   *
   * @param {Quality} event
   */
  learnQuality({ participant, connection }) {
    this.forgetTrouble(participant);
    if (connection === "connected") return;
    const forget = () => {
      this.#troubles.delete(participant);
      this.emit("change", null);
    };
    this.#troubles.set(participant, { connection, timer: setTimeout(forget, TROUBLE_MS) });
  }

  /**
   * Forget a participant's trouble. If the participant returns, it has a new connection.
   *
   * @param {string} participant its ID
   */
  forgetTrouble(participant) {
    clearTimeout(this.#troubles.get(participant)?.timer);
    this.#troubles.delete(participant);
  }
}
