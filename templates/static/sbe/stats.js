/**
 * @typedef {object} Quality
 * @property {Date} at
 * @property {number} sentBps
 * @property {number} receivedBps
 * @property {number} lossPercent of the packets that were due since the last reading
 * @property {number | null} rttMs
 * @property {number} framesDecoded frames of video, since the connection was made
 * @property {number} width
 * @property {number} height
 *
 * @typedef {{at: number, sent: number, received: number, packets: number, lost: number}} Counters
 */

/**
 * Return a function that reads the counters of a peer connection (webrtc-stats) and returns the rates since its last
 * call.
 */
export function qualityReader() {
  /** @type {Counters | null} */
  let last = null;

  return async (/** @type {RTCPeerConnection} */ pc) => {
    const now = { at: performance.now(), sent: 0, received: 0, packets: 0, lost: 0 };
    let framesDecoded = 0;
    let width = 0;
    let height = 0;
    let rttMs = /** @type {number | null} */ (null);
    (await pc.getStats()).forEach((report) => {
      if (report.type === "outbound-rtp") now.sent += report.bytesSent ?? 0;
      if (
        report.type === "candidate-pair" &&
        report.nominated &&
        report.state === "succeeded" &&
        report.currentRoundTripTime !== undefined
      ) {
        rttMs = report.currentRoundTripTime * 1000;
      }
      if (report.type !== "inbound-rtp") return;
      now.received += report.bytesReceived ?? 0;
      now.packets += report.packetsReceived ?? 0;
      now.lost += report.packetsLost ?? 0;
      if (report.kind !== "video") return;
      framesDecoded += report.framesDecoded ?? 0;
      width = Math.max(width, report.frameWidth ?? 0);
      height = Math.max(height, report.frameHeight ?? 0);
    });
    // A new peer connection counts from zero. A rate across two connections would be negative.
    const before = last !== null && last.received <= now.received && last.sent <= now.sent ? last : now;
    last = now;
    const seconds = (now.at - before.at) / 1000;
    const arrived = now.packets - before.packets;
    const lost = Math.max(0, now.lost - before.lost);
    return /** @type {Quality} */ ({
      at: new Date(),
      sentBps: seconds > 0 ? ((now.sent - before.sent) * 8) / seconds : 0,
      receivedBps: seconds > 0 ? ((now.received - before.received) * 8) / seconds : 0,
      lossPercent: arrived + lost > 0 ? (lost * 100) / (arrived + lost) : 0,
      rttMs,
      framesDecoded,
      width,
      height,
    });
  };
}

/**
 * Read what has arrived on each media section of a connection.
 *
 * @param {RTCPeerConnection} pc
 * @param {{endsAtParticipant: boolean}} options whether the path leads to the participant itself, and not to a focus
 * @returns {Promise<import("./reception.js").Reading>}
 */
export async function readArrivals(pc, { endsAtParticipant }) {
  /** @type {import("./reception.js").Reading["tracks"]} */
  const tracks = new Map();
  let path = 0;
  (await pc.getStats()).forEach((report) => {
    if (report.type === "candidate-pair")
      // Firefox counts neither packets nor requests. Its bytes include those of the connectivity checks.
      path += (report.bytesReceived ?? 0) + (report.requestsReceived ?? 0) + (report.responsesReceived ?? 0);
    if (report.type !== "inbound-rtp" || report.mid === undefined) return;
    const { packets, lost, ageMs } = tracks.get(report.mid) ?? { packets: 0, lost: 0, ageMs: null };
    const { packetsReceived = 0, packetsLost = 0, lastPacketReceivedTimestamp: last, timestamp } = report;
    tracks.set(report.mid, {
      packets: packets + packetsReceived,
      lost: lost + packetsLost,
      ageMs: last === undefined ? ageMs : Math.min(timestamp - last, ageMs ?? Infinity),
    });
  });
  return { at: performance.now(), tracks, path: endsAtParticipant ? path : null };
}
