/*
 * SbeClient: a browser endpoint of the SBE Enabler. This file is the public entry; see docs/sbe-client.md.
 */

import { SbeClient } from "./client.js";
import { CallOver, MediaError, NetworkError, Refusal, SbeError, SessionOver } from "./errors.js";
import { offersVideo } from "./peer.js";
import { qualityReader } from "./stats.js";

export { CallOver, MediaError, NetworkError, Refusal, SbeClient, SbeError, SessionOver, offersVideo, qualityReader };
