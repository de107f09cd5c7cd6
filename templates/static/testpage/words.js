import { offersVideo } from "../sbe/peer.js";
import { shortName } from "./join-link.js";
import { MediaError, NetworkError, Refusal, SbeError } from "../sbe/sbe-client.js";

/* All texts of the page about calls and errors. */

/** @type {Record<string, string>} */
const REFUSALS = {
  "too-many-offers": "Too many attempts in a short time. Wait a moment and try again.",
  "rate-limited": "Too many attempts in a short time. Wait a moment and try again.",
  "modification-pending": "Another change is still in progress. Try again in a moment.",
  "modification-settled": "That change has already been settled.",
  "conference-full": "The call is full.",
  "conference-not-open": "The call is no longer open.",
  "not-ringing": "The call no longer rings.",
  "already-answered": "Another device answered first.",
  "already-on-hold": "The call is on hold. Resume it first.",
  "not-on-hold": "The call is not on hold.",
  "focus-only": "Participants of a direct call cannot be muted.",
  "forbidden": "Only the host of the conference can do that.",
  "not-found": "This conference no longer exists, or you cannot join it.",
  "participant-away": "This person’s page has closed or is reloading. Choose somebody else.",
  "participant-moving": "The other side is moving to another device. Try again in a moment.",
  "enabler-unreachable": "The conference service cannot be reached. Is it running?",
  "media-unavailable": "The conference service has no capacity for media at the moment.",
  "unauthenticated": "This registration has ended. Register again.",
  "sdp-invalid": "The conference service could not use what this browser offered.",
  "sdp-direction": "The conference service refused the direction of the media.",
};

/** @param {unknown} error @returns {string} */
export function errorWords(error) {
  if (error instanceof MediaError) return mediaWords(error);
  if (error instanceof NetworkError) return "The server cannot be reached. Check the connection and try again.";
  if (error instanceof Refusal && error.fields.reason === "denied") return deniedKnockWords(error);
  if (error instanceof Refusal)
    return REFUSALS[error.code] ?? (Object.values(fieldWords(error)).join(" ") || error.detail);
  if (error instanceof SbeError) return error.message;
  // Any other error is a bug of this page. Its details are for developers.
  console.error(error);
  return "Something went wrong in this page. Its console has the details.";
}

/**
 * Return the server's errors about the fields of a form.
 *
 * @param {Refusal} refusal
 * @returns {Record<string, string>}
 */
export function fieldWords({ fields }) {
  const errors = Object.entries(/** @type {Record<string, unknown>} */ (fields.errors ?? {}));
  return Object.fromEntries(errors.map(([name, words]) => [name, leaves(words).join(" ")]));
}

/**
 * Return all texts of a field's errors. The errors of a list field are keyed by index if only some items are invalid.
 *
 * @param {unknown} words
 * @returns {string[]}
 */
function leaves(words) {
  return typeof words === "object" && words !== null ? Object.values(words).flatMap(leaves) : [String(words)];
}

/** @param {MediaError} error */
export function mediaWords({ device, reason }) {
  if (device === "screen")
    return reason === "refused" ? "No screen was shared." : "This browser cannot share a screen.";
  const name = device === "camera" ? "camera" : "microphone";
  if (reason === "refused")
    return `This page may not use the ${name}. Allow it beside the address bar, then try again.`;
  if (reason === "missing") return `No ${name} was found.`;
  if (reason === "busy") return `The ${name} is in use by another program.`;
  return `The ${name} could not be started.`;
}

/**
 * Describe all devices that could not be opened, for one dialog.
 *
 * @param {MediaError[]} errors at most one each of the camera and the microphone
 * @param {{camera: boolean}} wanted whether the camera was wanted
 */
export function deniedWords(errors, { camera }) {
  const [first] = errors;
  if (errors.length === 1)
    return {
      title: `The ${first.device} cannot be used`,
      cause: mediaWords(first),
      consequence: withoutWords(first.device, camera),
      without: `Go on without ${first.device}`,
    };
  const alike = errors.every(({ reason }) => reason === first.reason);
  return {
    title: "Camera and microphone cannot be used",
    cause: alike ? (DENIED[first.reason] ?? DENIED["failed"]) : errors.map(mediaWords).join(" "),
    consequence: "Without them you see and hear the others, but they cannot see or hear you.",
    without: "Go on without them",
  };
}

/** @type {Record<string, string>} */
const DENIED = {
  refused: "This page may not use the camera and the microphone. Allow both beside the address bar, then try again.",
  missing: "No camera and no microphone were found.",
  busy: "The camera and the microphone are in use by another program.",
  failed: "The camera and the microphone could not be started.",
};

/** @param {string} device @param {boolean} camera whether the camera was wanted, and works */
function withoutWords(device, camera) {
  if (device === "camera") return "Without it, the others still hear you, and you see them.";
  return camera ? "Without it, the others still see you, and you hear them." : "Without it, you can only listen.";
}

/** @param {string | null} state of the request to be let into a locked conference */
export function knockWords(state) {
  if (state === "denied") return "The host did not let you in.";
  return state === "expired" ? "The host did not answer. You can ask again." : undefined;
}

/** Say that the host has denied a guest, and when the guest may ask again. @param {Refusal} refusal */
function deniedKnockWords({ fields }) {
  const wait = Number(fields.retryAfterMs);
  return `The host did not let you in. You can ask again ${wait > 0 ? `in ${waitWords(wait / 1000)}` : "later"}.`;
}

/** @param {number} seconds @returns {string} at least this long: "25 seconds", "2 minutes" or "9 hours" */
export function waitWords(seconds) {
  const [number, unit] =
    seconds > 5_400 ? [seconds / 3600, "hour"] : seconds > 90 ? [seconds / 60, "minute"] : [seconds, "second"];
  const whole = Math.ceil(number);
  return `${whole} ${unit}${whole === 1 ? "" : "s"}`;
}

/** @param {{paused: boolean}} state */
export function presentingWords({ paused }) {
  return paused ? "Your screen is hidden during the hold" : "You are presenting";
}

/**
 * Say that a device was lost, or that one is in use again.
 *
 * @param {"lost" | "back"} what
 * @param {{device: "microphone" | "camera", label: string}} event
 */
export function deviceWords(what, { device, label }) {
  if (what === "back") return label ? `Your ${device} is now “${label}”.` : `Your ${device} works again.`;
  const verb = device === "camera" ? "see" : "hear";
  const name = label ? `“${label}”` : `Your ${device}`;
  return `${name} is no longer available. The others do not ${verb} you. Choose another ${device} with the arrow beside its button.`;
}

/**
 * Say that devices were plugged in; null if there is nothing to choose.
 *
 * @param {{kind: string, label: string}[]} added
 */
export function addedWords(added) {
  const inputs = added.filter(({ kind, label }) => kind !== "audiooutput" && label !== "");
  const names = [...new Set(inputs.map(({ label }) => `“${label}”`))];
  if (names.length === 0) return null;
  const button = inputs[0].kind === "videoinput" ? "camera" : "microphone";
  return `${names.join(" and ")} was connected. To use it, press the arrow beside the ${button} button.`;
}

/**
 * Say how it stands with a participant who has not answered yet.
 *
 * @param {import("../sbe/call.js").Call} call
 * @param {import("../sbe/roster.js").RemoteParticipant | undefined} participant
 */
export function ringingWords({ confId }, participant) {
  if (!confId) return "Calling…";
  return participant?.unreachable ? "Not here at the moment. They will see a missed call." : "Ringing…";
}

/**
 * Whether a participant cannot be heard: its microphone is off, or it has none.
 *
 * @param {{muted: {audio: boolean}, noMicrophone?: boolean}} participant
 */
export function isSilent({ muted, noMicrophone = false }) {
  return muted.audio || noMicrophone;
}

/**
 * Say what kind of call it is while the only other participant sends no picture.
 *
 * @param {{video: boolean}} call
 * @param {{noMicrophone?: boolean} | undefined} other
 * @param {boolean} ownPicture whether this side sends one
 */
export function pictureless({ video }, other, ownPicture) {
  if (other?.noMicrophone) return "No microphone and no camera";
  if (ownPicture) return "The camera is off";
  return video ? "Both cameras are off" : "Audio call";
}

/** @param {string[]} names */
export function listOf(names) {
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : (names[0] ?? "");
}

/** @param {import("../sbe/channel.js").ChannelState} state */
export function channelWords(state) {
  return {
    connecting: "Connecting",
    // How events arrive is no matter of the user. The timeline shows it.
    websocket: "Online",
    sse: "Online",
    poll: "Online",
    offline: "Reconnecting",
    replaced: "No calls here",
  }[state];
}

/**
 * Say why nothing arrives from a participant.
 *
 * @param {import("../sbe/call.js").RemoteParticipant} participant
 * @param {string} name
 * @returns {{state: "away" | "interrupted" | "silent", words: string} | null} null if there is no trouble
 */
export function troubleWords({ away, interrupted, receiving }, name) {
  if (away) return { state: "away", words: `${name} is away` };
  if (interrupted) return { state: "interrupted", words: "Connection interrupted" };
  return receiving === "silent" ? { state: "silent", words: "Reconnecting…" } : null;
}

/** Shown over a video that the focus has paused for this side. */
export const PAUSED = { state: /** @type {const} */ ("paused"), icon: "weak-signal", words: "Paused: slow connection" };

/**
 * Say what an unreachable server means for the call, if there is one.
 *
 * @param {import("../sbe/call.js").Call | null} call that has not ended
 */
export function outageWords(call) {
  if (call?.receiving === "silent" || call?.connection === "disconnected" || call?.connection === "failed")
    return "The server cannot be reached, and the call is interrupted. Reconnecting…";
  // Without arriving media it is unknown whether the call goes on.
  const goesOn = call?.receiving === "live" && call.connection === "connected";
  return `The server cannot be reached. ${goesOn ? "Your call goes on. " : ""}Reconnecting…`;
}

/**
 * Return the title of the end screen of a call that was never answered.
 *
 * @param {string} reason
 */
export function unansweredWords(reason) {
  /** @type {Record<string, string>} */
  const words = { "declined": "Call declined", "no-answer": "No answer", "here": "Call cancelled" };
  return words[reason] ?? "The call was not connected";
}

/**
 * Say why a call ended. `wasOpen`: it had been answered. `together`: it had more than two participants. `byHost`: the
 * host ended it, not the last but one who left.
 *
 * @param {string} reason
 * @param {string} name of the other side
 * @param {{wasOpen: boolean, together: boolean, byHost: boolean}} options
 */
export function endedWords(reason, name, { wasOpen, together, byHost }) {
  /** @type {Record<string, string>} */
  const words = {
    "here": wasOpen ? "" : "You hung up before anyone answered.",
    "hung-up": !together
      ? `${name} hung up.`
      : byHost
        ? `${name} ended the conference.`
        : `${name} left. Nobody else is here.`,
    "ended-by-support": "The support desk ended the call.",
    // In a call that was open, these two reasons mean a failed move: no other device accepted the call.
    "declined": wasOpen ? `${name} declined on the other device.` : `${name} declined.`,
    "no-answer": wasOpen ? `${name} did not answer on the other device.` : `${name} did not answer.`,
    "caller-cancelled": `${name} cancelled the call.`,
    "elsewhere": "The call ended while this page was not connected.",
    "removed": "You were removed from the call.",
    "media-lost": "The connection between the two sides was lost.",
    "session-expired": "A registration expired.",
    "session-over": "This registration has ended, and the call with it.",
    "no-other-device": "There was no other device to move to.",
    "window-over": "The move took too long to reach the server.",
    "move-no-answer": "None of your other devices answered, so the call ended.",
    "move-declined": "You declined on your other device, so the call ended.",
    "media-unavailable": "The conference service could not carry the media.",
    "sdp-invalid": "The conference service could not use what this browser offered.",
    "not-placed": "The call could not be placed.",
    "not-answered": "The call could not be answered.",
  };
  return words[reason] ?? "";
}

/**
 * @param {import("../sbe/call.js").Notice} notice
 * @param {string} name of the other side
 * @returns {{text: string, bad: boolean} | null} null if the page shows it in another way
 */
export function noticeWords({ code, kind, reason, who, error }, name) {
  const what =
    kind === "hold" ? "the hold" : kind === "resume" ? "resuming" : kind === "move" ? "the move" : "the change";
  switch (code) {
    case "left":
      return leftWords(shortName(who || "Somebody"), reason ?? "");
    case "muted-by-host":
      return {
        text:
          kind === "audio"
            ? "The host muted your microphone. You can unmute it."
            : "The host turned your camera off. You can turn it on again.",
        bad: false,
      };
    case "mine-rejected":
      if (who) return { text: `${shortName(who)} rejected ${what}. Nothing changes for them.`, bad: false };
      return { text: `${name} rejected ${what}. Everything stays as it was.`, bad: false };
    case "mine-expired":
      return { text: `${name} did not respond to ${what}. Everything stays as it was.`, bad: false };
    case "theirs-cancelled":
      return { text: `${name} withdrew ${what}.`, bad: false };
    case "theirs-expired":
      return { text: `The request expired: ${what} did not happen.`, bad: false };
    case "invitation-cancelled":
      if (reason === "answered-elsewhere") return { text: "Answered on another of your devices.", bad: false };
      if (reason === "declined-elsewhere") return { text: "Declined on another of your devices.", bad: false };
      return { text: who ? `You missed a call from ${shortName(who)}.` : "You missed a call.", bad: false };
    case "move-expired":
      return { text: "The move took too long. The call is on hold here. Resume it, or try again.", bad: true };
    case "media-lost":
      return { text: `The media connection to ${name} is lost. Hang up and call again.`, bad: true };
    case "unusable-offer":
      return { text: `This browser could not use the change that ${name} offered, and rejected it.`, bad: true };
    case "session-over":
      return { text: "This registration has ended. Register again to receive calls.", bad: true };
    case "event-failed":
    case "failed":
      return { text: errorWords(error), bad: true };
    default:
      return null;
  }
}

/** @param {string} who @param {string} reason */
function leftWords(who, reason) {
  /** @type {Record<string, string>} */
  const words = {
    "hung-up": `${who} left.`,
    "declined": `${who} declined.`,
    "no-answer": `${who} did not answer.`,
    "removed": `${who} was removed.`,
    "media-lost": `${who} lost the connection.`,
    "session-expired": `${who} has gone.`,
  };
  return { text: words[reason] ?? `${who} left.`, bad: false };
}

/**
 * Describe a change of the tracks that a focus forwards, before the user accepts or rejects it.
 *
 * @param {import("../sbe/call.js").Modification} modification
 * @param {string} name of the participants whose tracks they are
 */
export function forwardingWords({ kind, changes }, name) {
  if (changes.includes("screen-on"))
    return {
      title: `${name} wants to share a screen`,
      text: "You would see it beside the other videos. If you reject it, nothing changes.",
    };
  if (kind === "resume") return { title: `${name} wants to resume`, text: "You would see and hear them again." };
  if (changes.includes("audio-on"))
    return {
      title: `${name} joins`,
      text: `You would ${changes.includes("video-on") ? "see and hear" : "hear"} them.`,
    };
  return { title: `${name} wants to turn on video`, text: "You would see them. Your own camera stays as it is." };
}

/** @param {import("../sbe/call.js").Modification} modification @param {string} name */
export function modificationWords({ kind, changes, description }, name) {
  const video = offersVideo(description.sdp);
  if (kind === "hold")
    return {
      title: `${name} wants to put you on hold`,
      text: `You would not ${video ? "see or hear" : "hear"} the other side until the call is resumed.`,
    };
  if (kind === "resume")
    return {
      title: `${name} wants to resume the call`,
      text: `You would ${video ? "see and hear" : "hear"} each other again.`,
    };
  if (changes.includes("screen-on"))
    return { title: `${name} wants to share a screen`, text: "You would see it in place of the camera." };
  if (changes.includes("video-on"))
    return { title: `${name} wants to turn on video`, text: "You would see them. Your own camera stays as it is." };
  if (changes.includes("screen-off"))
    return { title: `${name} wants to stop sharing`, text: "The shared screen would go away." };
  if (changes.includes("video-off"))
    return { title: `${name} wants to turn video off`, text: "The video would go away. The sound stays." };
  return { title: `${name} wants to change the connection`, text: "Video and sound stay as they are." };
}

/**
 * Return verbs for how one side perceives the other: "see and hear".
 *
 * @param {{audio: boolean, video: boolean}} sent
 * @param {"and" | "or"} [between]
 */
export function perceives({ audio, video }, between = "and") {
  return [...(video ? ["see"] : []), ...(audio ? ["hear"] : [])].join(` ${between} `);
}

/**
 * Name another device of a user. It may have the same name as this one, for example "computer".
 *
 * @param {string | null} name
 * @param {string | null} own the name of this device
 */
export function otherDevice(name, own) {
  if (!name) return "a device without a name";
  return name === own ? `another ${name}` : name;
}

/**
 * Name another device of a user in a list of those that will ring.
 *
 * @param {{device: string | null, followed?: boolean}} session
 * @param {string | null} own the name of this device
 */
export function ringingDevice({ device, followed = true }, own) {
  return followed ? otherDevice(device, own) : `${otherDevice(device, own)} (may not ring: it reads no events)`;
}

/** @param {number} seconds */
export function durationWords(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/**
 * Return the seconds until a deadline of the server. Return null if the result is implausible because the clocks
 * differ.
 *
 * @param {string | null | undefined} deadline
 */
export function secondsUntil(deadline) {
  const left = deadline ? Math.ceil((Date.parse(deadline) - Date.now()) / 1000) : NaN;
  return left > 0 && left <= 120 ? left : null;
}

/** @param {number} bps */
export function bitrateWords(bps) {
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mb/s` : `${Math.round(bps / 1e3)} kb/s`;
}
