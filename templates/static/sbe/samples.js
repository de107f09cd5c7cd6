/**
 * Samples of the quality of a connection, as `POST /mediaConferences/{confId}/quality` takes them.
 *
 * @typedef {object} Measured what was measured in one direction; unknown values are absent
 * @property {number} bitrate in bits per second
 * @property {number} [loss] share of the packets, in the worst stream
 * @property {number} [jitterMs]
 * @property {number} [roundTripMs]
 * @property {number} [retransmissions] packets
 * @property {number} [videos]
 * @property {number} [framesPerSecond] of the largest picture, like the width and the height
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [freezes] of the picture that was frozen longest
 * @property {number} [frozenMs]
 * @property {number} [concealed] share of the sound
 *
 * @typedef {{periodMs: number, up: Measured, down: Measured}} Sample
 * @typedef {{forEach(visit: (report: any, id: string) => void): void, get(id: string): any}} Stats
 *
 * @typedef {object} Change the counters of one stream: how much each has grown in the period
 * @property {any} now the report itself
 * @property {(name: string) => number} grown
 */

/** The most samples that one request may have. */
export const MOST_SAMPLES = 24;
// The largest values that the enabler takes.
const MOST_MS = 30_000;
const MOST_PERIOD_MS = 600_000;
const LEAST_PERIOD_MS = 500;
/** The loss of a stream with fewer packets means nothing. */
const LEAST_PACKETS = 10;

/**
 * Return the sample between two results of `RTCPeerConnection.getStats()`. Return null if they are too close together,
 * or too far apart.
 *
 * @param {Stats} before
 * @param {Stats} after
 * @returns {Sample | null}
 */
export function sampleOf(before, after) {
  const periodMs = Math.round(timeOf(after) - timeOf(before));
  if (!(periodMs >= LEAST_PERIOD_MS && periodMs <= MOST_PERIOD_MS)) return null;
  const changes = (/** @type {string} */ type) => changesOf(type, before, after);
  const roundTripMs = milliseconds(pathOf(after)?.currentRoundTripTime);
  const sent = changes("outbound-rtp");
  const received = changes("inbound-rtp");
  return {
    periodMs,
    up: known({ ...sentBy(sent, changes("remote-inbound-rtp"), periodMs), roundTripMs }),
    down: known({ ...receivedBy(received, periodMs), roundTripMs }),
  };
}

/**
 * Return the body of a request with these samples, or with the newest ones if there are too many.
 *
 * @param {{at: number, sample: Sample}[]} samples with the times at which they were taken, the oldest first
 * @param {number} now by the same clock, in milliseconds
 * @param {"desktop" | "phone" | "tablet"} device
 */
export function bodyOf(samples, now, device) {
  const newest = samples.filter(({ at }) => now - at <= MOST_PERIOD_MS).slice(-MOST_SAMPLES);
  return { device, samples: newest.map(({ at, sample }) => ({ ageMs: Math.max(0, Math.round(now - at)), ...sample })) };
}

/**
 * Return the kind of a device.
 *
 * @param {{userAgent: string, maxTouchPoints?: number}} navigator
 * @returns {"desktop" | "phone" | "tablet"}
 */
export function deviceKind({ userAgent, maxTouchPoints = 0 }) {
  // An iPad calls itself a Macintosh, but no Macintosh has a touch screen.
  if (/iPad|Tablet/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1)) return "tablet";
  if (/Mobi|iPhone/.test(userAgent)) return "phone";
  return /Android/.test(userAgent) ? "tablet" : "desktop";
}

/** @param {Stats} stats */
function timeOf(stats) {
  let newest = NaN;
  stats.forEach(({ timestamp }) => {
    if (!(newest > timestamp)) newest = timestamp;
  });
  return newest;
}

/**
 * A counter that has fallen belongs to a new stream or connection, which counts from zero.
 *
 * @param {string} type
 * @param {Stats} before
 * @param {Stats} after
 */
function changesOf(type, before, after) {
  const changes = /** @type {Change[]} */ ([]);
  after.forEach((now, id) => {
    if (now.type !== type) return;
    const former = before.get(id) ?? {};
    const grown = (/** @type {string} */ name) => {
      const [first, last] = [former[name] ?? 0, now[name] ?? 0];
      return last >= first ? last - first : last;
    };
    changes.push({ now, grown });
  });
  return changes;
}

/** @param {Stats} stats */
function pathOf(stats) {
  let path = /** @type {any} */ (null);
  stats.forEach((report) => {
    if (report.type === "candidate-pair" && report.nominated && report.state === "succeeded") path = report;
  });
  return path;
}

/**
 * @param {Change[]} sent
 * @param {Change[]} reports what the other side says of these streams
 * @param {number} periodMs
 */
function sentBy(sent, reports, periodMs) {
  const pictures = sent.filter(({ now, grown }) => now.kind === "video" && grown("framesEncoded") > 0);
  const worst = reports.map(({ now }) => now.fractionLost).filter(Number.isFinite);
  return {
    bitrate: rate(sent, "bytesSent", periodMs),
    loss: worst.length ? share(Math.max(...worst)) : undefined,
    jitterMs: jitterOf(reports),
    retransmissions: Math.min(1e6, sum(sent, "retransmittedPacketsSent")),
    // The layers of a picture share their section.
    videos: new Set(pictures.map(({ now }) => now.mid ?? now.id)).size,
    ...largest(pictures, "framesEncoded", periodMs),
  };
}

/**
 * @param {Change[]} received
 * @param {number} periodMs
 */
function receivedBy(received, periodMs) {
  const pictures = received.filter(({ now, grown }) => now.kind === "video" && grown("framesDecoded") > 0);
  const frozen = pictures.reduce(
    (most, { grown }) => {
      const seconds = grown("totalFreezesDuration");
      return seconds > most.seconds ? { seconds, freezes: grown("freezeCount") } : most;
    },
    { seconds: 0, freezes: 0 },
  );
  return {
    bitrate: rate(received, "bytesReceived", periodMs),
    loss: lossOf(received),
    jitterMs: jitterOf(received),
    retransmissions: Math.min(1e6, sum(received, "retransmittedPacketsReceived")),
    videos: pictures.length,
    ...largest(pictures, "framesDecoded", periodMs),
    freezes: pictures.length ? Math.min(10_000, Math.round(frozen.freezes)) : undefined,
    frozenMs: pictures.length ? milliseconds(frozen.seconds) : undefined,
    concealed: concealedOf(received),
  };
}

/** @param {Change[]} received */
function lossOf(received) {
  const shares = received.flatMap(({ grown }) => {
    const [arrived, lost] = [grown("packetsReceived"), Math.max(0, grown("packetsLost"))];
    return arrived + lost >= LEAST_PACKETS ? [lost / (arrived + lost)] : [];
  });
  return shares.length ? share(Math.max(...shares)) : undefined;
}

/** Sound that was silent anyway does not count. @param {Change[]} received */
function concealedOf(received) {
  const total = sum(received, "totalSamplesReceived");
  return total > 0
    ? share((sum(received, "concealedSamples") - sum(received, "silentConcealedSamples")) / total)
    : undefined;
}

/** Packets of a picture share a timestamp, so the jitter of video is not that of the path. @param {Change[]} streams */
function jitterOf(streams) {
  const measured = streams.filter(({ now }) => Number.isFinite(now.jitter));
  const sound = measured.filter(({ now }) => now.kind === "audio");
  const jitters = (sound.length ? sound : measured).map(({ now }) => now.jitter);
  return jitters.length ? milliseconds(Math.max(...jitters)) : undefined;
}

/**
 * @param {Change[]} pictures
 * @param {string} frames the counter of frames
 * @param {number} periodMs
 */
function largest(pictures, frames, periodMs) {
  const area = (/** @type {Change} */ { now }) => (now.frameWidth ?? 0) * (now.frameHeight ?? 0);
  if (!pictures.length) return {};
  const picture = pictures.reduce((most, each) => (area(each) > area(most) ? each : most));
  return {
    framesPerSecond: Math.min(1_000, Math.round((1_000 * picture.grown(frames)) / periodMs)),
    width: picture.now.frameWidth,
    height: picture.now.frameHeight,
  };
}

/**
 * @param {Change[]} changes
 * @param {string} name
 */
function sum(changes, name) {
  return changes.reduce((total, { grown }) => total + grown(name), 0);
}

/**
 * @param {Change[]} changes
 * @param {string} name
 * @param {number} periodMs
 */
function rate(changes, name, periodMs) {
  return Math.min(1e9, Math.round((8_000 * sum(changes, name)) / periodMs));
}

/** @param {number} value */
function share(value) {
  return Math.round(1_000 * Math.min(1, Math.max(0, value))) / 1_000;
}

/** @param {number | undefined} seconds */
function milliseconds(seconds) {
  return seconds === undefined ? undefined : Math.min(MOST_MS, Math.max(0, Math.round(1_000 * seconds)));
}

/**
 * Return an object without its unknown members.
 *
 * @param {{bitrate: number} & {[name: string]: number | undefined}} measured
 */
function known(measured) {
  const entries = Object.entries(measured).filter(([, value]) => Number.isFinite(value));
  return /** @type {Measured} */ (Object.fromEntries(entries));
}
