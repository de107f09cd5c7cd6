import { MediaError } from "../sbe/sbe-client.js";
import { byId, setText } from "./dom.js";
import { mediaWords } from "./words.js";

/** @typedef {import("../sbe/media.js").LocalMedia} LocalMedia */

/**
 * Open the devices that a call needs. If one fails, ask the user: try again, go on without it, or cancel.
 *
 * @param {LocalMedia} media
 * @param {{camera: boolean}} wanted
 * @returns {Promise<boolean>} false if the user cancelled
 */
export async function openMedia(media, { camera }) {
  const microphone = await openOne("microphone", () => media.openMicrophone());
  const opened = microphone && (!camera || (await openOne("camera", () => media.openCamera())));
  if (!opened) media.closeAll();
  return opened;
}

/**
 * @param {"camera" | "microphone"} device
 * @param {() => Promise<unknown>} open
 */
async function openOne(device, open) {
  for (;;) {
    try {
      await open();
      return true;
    } catch (error) {
      if (!(error instanceof MediaError)) throw error;
      const choice = await ask(device, error);
      if (choice !== "retry") return choice === "without";
    }
  }
}

/**
 * @param {"camera" | "microphone"} device
 * @param {MediaError} error
 * @returns {Promise<"retry" | "without" | "cancel">}
 */
function ask(device, error) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("media-dialog"));
  setText(byId("media-title"), device === "camera" ? "The camera cannot be used" : "The microphone cannot be used");
  const consequence =
    device === "camera"
      ? "You can go on without it: others hear you, and you see them."
      : "You can go on and only listen.";
  setText(byId("media-text"), `${mediaWords(error)} ${consequence}`);
  setText(byId("media-without"), device === "camera" ? "Go on without camera" : "Go on without microphone");
  dialog.returnValue = "cancel";
  for (const choice of ["retry", "without", "cancel"]) byId(`media-${choice}`).onclick = () => dialog.close(choice);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(/** @type {"retry" | "without" | "cancel"} */ (dialog.returnValue)),
      { once: true },
    );
  });
}
