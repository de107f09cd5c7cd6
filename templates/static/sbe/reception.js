/**
 * @typedef {"live" | "silent" | "idle"} Receiving
 * - `live`: media arrives.
 * - `silent`: media arrived, and should still arrive, but no packet has come for `SILENT_MS`.
 * - `idle`: nothing is expected now, for example during a hold or while the participant is muted, or nothing has come yet.
 *
 * @typedef {object} Reception what arrives from one participant
 * @property {Receiving} receiving
 * @property {0 | 1 | 2 | 3 | null} signal how well it arrives: 3 is good, 0 is nothing; null while nothing is expected
 * @property {boolean} [noMicrophone] whether it should send sound, but has sent none for some time
 *
 * @typedef {object} TrackReading the counters of one media section (webrtc-stats, `inbound-rtp`)
 * @property {number} packets
 * @property {number} lost
 * @property {number | null} ageMs how long ago the last packet came, if the browser reports it
 *
 * @typedef {object} Reading
 * @property {number} at milliseconds of any clock that never runs backwards
 * @property {Map<string, TrackReading>} tracks by mid
 * @property {number | null} path a number that grows with each packet that comes over the path, of any kind; null if the
 *   packets prove nothing about the participant, because the path ends at a focus
 *
 * @typedef {object} Known one track of one participant, as last read
 * @property {number} packets
 * @property {number} lost
 * @property {number | null} arrivedAt on the clock of the readings; null until the first packet
 * @property {{at: number, packets: number, lost: number}[]} recent
 */

/** A participant is silent after this long without a packet. Readings come every `READ_EVERY_MS`. */
export const SILENT_MS = 1_300;
export const READ_EVERY_MS = 400;
// A path without media carries at least the checks of consent, one every 4 to 6 s (RFC 7675 section 5.1).
const CONSENT_MS = 6_000;
// A longer pause between two readings means that the page was suspended. It proves nothing about the participants.
const LONGEST_STEP_MS = 1_000;
// The loss of this period counts for the signal.
const SIGNAL_MS = 3_000;
// A microphone that sends nothing for this long, and for SILENT_MS more, is none. A silent one still sends packets.
const NO_SOUND_MS = 1_200;
const LOSS_BAD = 0.08;
const LOSS_FAIR = 0.02;

/**
 * Judges for each participant whether its media arrives. The rule needs no browser: its caller says which tracks should
 * arrive, and passes the counters.
 *
 * A screen is no evidence, because a still picture may send nothing for seconds.
 */
export class ReceptionJudge {
  /** The time during which this page has watched. @type {number} */
  #clock = 0;
  /** @type {number | null} */
  #readAt = null;
  /** @type {Map<string, Known>} */
  #known = new Map();
  /** @type {{count: number, aliveAt: number} | null} */
  #path = null;

  /**
   * @param {Map<string, (string | null)[]>} expected for each participant, the mids of the microphone and the camera, or
   *   null if it should not send now
   * @param {Reading} reading
   * @returns {Map<string, Reception>} by participant
   */
  judge(expected, { at, tracks, path }) {
    const step = this.#readAt === null ? 0 : Math.min(at - this.#readAt, LONGEST_STEP_MS);
    this.#readAt = at;
    this.#clock += step;
    this.#followPath(path);
    const before = this.#known;
    this.#known = new Map();
    const judged = new Map();
    for (const [participant, mids] of expected) {
      const arriving = mids.map((mid) => {
        if (mid === null) return null;
        const key = `${participant} ${mid}`;
        const now = this.#follow(before.get(key), tracks.get(mid), step);
        this.#known.set(key, now);
        return now;
      });
      const reception = this.#receptionOf(arriving.filter((track) => track !== null));
      if (reception.receiving !== "silent") reception.noMicrophone = this.#isStill(arriving[0]);
      judged.set(participant, reception);
    }
    return judged;
  }

  /** @param {number | null} count */
  #followPath(count) {
    if (count === null) this.#path = null;
    else if (this.#path === null || count > this.#path.count) this.#path = { count, aliveAt: this.#clock };
  }

  /**
   * @param {Known | undefined} before
   * @param {TrackReading | undefined} reading undefined until the first packet
   * @param {number} step since the reading before
   * @returns {Known}
   */
  #follow(before, { packets, lost, ageMs } = { packets: 0, lost: 0, ageMs: null }, step) {
    // Another connection, or another sender on the same section, counts from zero.
    const known = before && before.packets <= packets ? before : { packets, lost, arrivedAt: null, recent: [] };
    const hasMore = packets > known.packets;
    const arrivedAt = hasMore ? this.#clock - Math.min(Math.max(ageMs ?? 0, 0), step) : known.arrivedAt;
    const recent = known.recent.filter(({ at }) => this.#clock - at <= SIGNAL_MS);
    return { packets, lost, arrivedAt, recent: [...recent, { at: this.#clock, packets, lost }] };
  }

  /** Whether nothing has come on a track for some time. @param {Known | null} track */
  #isStill(track) {
    return (
      track?.packets === track?.recent[0].packets && !this.#isRecent((track?.recent[0].at ?? Infinity) + NO_SOUND_MS)
    );
  }

  /** @param {Known[]} tracks @returns {Reception} */
  #receptionOf(tracks) {
    const arrivals = tracks.flatMap(({ arrivedAt }) => arrivedAt ?? []);
    if (arrivals.length === 0) return { receiving: "idle", signal: null };
    const last = Math.max(...arrivals);
    if (this.#isRecent(last)) return { receiving: "live", signal: signalOf(tracks) };
    // The other side lives, but sends no media, for example because its microphone was unplugged.
    // The next packet of a path that has outlived the media may come late.
    const aliveAt = this.#path?.aliveAt ?? -Infinity;
    if (this.#isRecent(aliveAt - last < SILENT_MS ? aliveAt : aliveAt + CONSENT_MS))
      return { receiving: "idle", signal: null };
    return { receiving: "silent", signal: 0 };
  }

  /** @param {number} at */
  #isRecent(at) {
    return this.#clock - at < SILENT_MS;
  }
}

/** @param {Known[]} tracks @returns {1 | 2 | 3} */
function signalOf(tracks) {
  const sum = (/** @type {"packets" | "lost"} */ field) =>
    tracks.reduce((total, { recent }) => total + (recent.at(-1)?.[field] ?? 0) - (recent[0]?.[field] ?? 0), 0);
  const lost = Math.max(0, sum("lost"));
  const share = lost / Math.max(1, lost + sum("packets"));
  return share >= LOSS_BAD ? 1 : share >= LOSS_FAIR ? 2 : 3;
}

/**
 * Return the reception of several participants together: `live` if media arrives from any of them.
 *
 * @param {Receiving[]} each
 * @returns {Receiving}
 */
export function together(each) {
  if (each.includes("live")) return "live";
  return each.includes("silent") ? "silent" : "idle";
}
