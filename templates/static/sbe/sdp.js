/* The parts of a session description (RFC 8866) that the client reads or writes. */

/**
 * @typedef {"sendrecv" | "sendonly" | "recvonly" | "inactive"} Direction
 *
 * @typedef {object} Section
 * @property {"audio" | "video" | "application" | string} kind
 * @property {string | null} mid
 * @property {Direction} direction as the writer of the description sees it
 * @property {boolean} live false with port zero: rejected or stopped (RFC 3264 section 6)
 * @property {boolean} slides the video is a presentation (RFC 4796)
 * @property {string | null} msid stream and track, as the writer names them (RFC 8830)
 */

const DIRECTION = /^a=(sendrecv|sendonly|recvonly|inactive)\r?$/m;

/**
 * @param {string} sdp
 * @returns {Section[]}
 */
export function sections(sdp) {
  const [head, ...media] = sdp.split(/^(?=m=)/m);
  const inherited = DIRECTION.exec(head)?.[1] ?? "sendrecv";
  return media.map((text) => {
    const [, kind, port] = /^m=(\S+) (\d+)/.exec(text) ?? ["", "", "0"];
    return {
      kind,
      mid: /^a=mid:(\S+)/m.exec(text)?.[1] ?? null,
      direction: /** @type {Direction} */ (DIRECTION.exec(text)?.[1] ?? inherited),
      // A section with port zero and a=bundle-only is live inside its bundle (RFC 9143 section 6).
      live: port !== "0" || /^a=bundle-only\r?$/m.test(text),
      slides: /^a=content:(?:\S+,)?slides\b/m.test(text),
      msid: /^a=msid:([^\r\n]+)/m.exec(text)?.[1] ?? null,
    };
  });
}

/**
 * Mark sections as presentations (RFC 4796), so that the other side can tell a shared screen from a camera. Browsers
 * ignore the attribute, so it is added only to the text that is sent, not to the local description.
 *
 * @param {string} sdp
 * @param {Set<string>} mids
 */
export function markSlides(sdp, mids) {
  if (mids.size === 0) return sdp;
  return sdp
    .split(/^(?=m=)/m)
    .map((text) => {
      const mid = /^a=mid:(\S+)/m.exec(text)?.[1];
      return mid && mids.has(mid) ? text.replace(/^a=mid:\S+/m, "$&\r\na=content:slides") : text;
    })
    .join("");
}

/**
 * Remove the parameters of codecs that their m= line does not list. Firefox leaves such parameters in place after
 * `setCodecPreferences`, and Chromium refuses a description that contains them.
 *
 * @param {string} sdp
 */
export function withoutUnlisted(sdp) {
  return sdp
    .split(/^(?=m=)/m)
    .map((text) => {
      const listed = /^m=\S+ \S+ \S+ (.*)/.exec(text)?.[1]?.trim().split(" ");
      if (!listed) return text;
      return text.replace(/^a=(?:fmtp|rtcp-fb):(\d+) .*\r?\n/gm, (line, type) => (listed.includes(type) ? line : ""));
    })
    .join("");
}

/**
 * Return the session ID of the o= line. A peer connection never changes it (RFC 8829 section 5.2.2), so another ID
 * means that the other side started afresh.
 *
 * @param {string} sdp
 */
export function originOf(sdp) {
  return /^o=\S+ (\S+)/m.exec(sdp)?.[1] ?? null;
}

/** @param {string} sdp */
export function iceUfragOf(sdp) {
  return /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1] ?? null;
}

/** @param {Direction} direction */
export function sends(direction) {
  return direction === "sendrecv" || direction === "sendonly";
}

/** @param {Direction} direction */
export function receives(direction) {
  return direction === "sendrecv" || direction === "recvonly";
}

/**
 * Return which tracks of its writer an offer turns on and off.
 *
 * @param {string | null} before its previous description
 * @param {string} after
 * @returns {("video-on" | "video-off" | "screen-on" | "screen-off")[]}
 */
export function changesBetween(before, after) {
  const was = sending(before);
  const is = sending(after);
  return /** @type {const} */ (["video", "screen"]).flatMap((name) =>
    is[name] === was[name] ? [] : /** @type {const} */ (`${name}-${is[name] ? "on" : "off"}`),
  );
}

/** @param {string | null} sdp */
function sending(sdp) {
  const pictures = sdp
    ? sections(sdp).filter((section) => section.kind === "video" && section.live && sends(section.direction))
    : [];
  return { video: pictures.some((section) => !section.slides), screen: pictures.some((section) => section.slides) };
}
