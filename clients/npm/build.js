/*
 * Builds the npm package `sbe-client` from templates/static/sbe into dist/. With --size it only checks the sizes.
 * `--out=FOLDER` is used in place of dist/.
 */

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, "../..");
const SOURCES = join(ROOT, "templates/static/sbe");
/** The most bytes of each entry point, gzipped. */
const LIMITS = { "index.js": 20_000, "upkeep.js": 4_000, "element.js": 10_000 };

/** The version of the project, which is also the version of the package. */
function version() {
  const found = /^version = "(.+)"$/m.exec(readFileSync(join(ROOT, "pyproject.toml"), "utf8"));
  if (!found) throw new Error("pyproject.toml has no version.");
  return found[1];
}

/**
 * The element imports the client's entry point and does not contain the client again.
 *
 * @type {import("esbuild").Plugin}
 */
const clientIsSeparate = {
  name: "client-is-separate",
  setup(build) {
    build.onResolve({ filter: /\/sbe-client\.js$/ }, () => ({ path: "./index.js", external: true }));
  },
};

/**
 * The client loads this module only when a call needs it.
 *
 * @type {import("esbuild").Plugin}
 */
const upkeepIsSeparate = {
  name: "upkeep-is-separate",
  setup(build) {
    build.onResolve({ filter: /^\.\/upkeep\.js$/ }, ({ path }) => ({ path, external: true }));
  },
};

/**
 * Bundle one entry point.
 *
 * @param {keyof typeof LIMITS} name
 * @param {string} source
 * @param {string} folder
 * @param {import("esbuild").Plugin[]} [plugins]
 */
async function bundle(name, source, folder, plugins = []) {
  const { outputFiles } = await build({
    entryPoints: [join(SOURCES, source)],
    outfile: join(folder, name),
    banner: { js: `/* sbe-client ${version()}, BSD-3-Clause */` },
    bundle: true,
    format: "esm",
    target: "es2022",
    minify: true,
    sourcemap: "linked",
    write: false,
    plugins,
  });
  return smaller(outputFiles);
}

/**
 * Minify a bundle once more: terser finds what esbuild leaves, 2 % of the gzipped size.
 *
 * @param {import("esbuild").OutputFile[]} files a bundle and its source map
 */
async function smaller(files) {
  const script = /** @type {import("esbuild").OutputFile} */ (files.find(({ path }) => path.endsWith(".js")));
  const map = /** @type {import("esbuild").OutputFile} */ (files.find(({ path }) => path.endsWith(".map")));
  const sourceMap = { content: map.text, url: basename(map.path), includeSources: true };
  const minified = await minify(script.text, {
    module: true,
    ecma: 2020,
    // Gzip packs plain statements, functions and comparisons better than what terser makes of them.
    compress: { sequences: false, inline: 0, reduce_funcs: false, lhs_constants: false },
    format: { comments: /sbe-client/ },
    sourceMap,
  });
  return [
    { path: script.path, contents: Buffer.from(minified.code ?? "") },
    { path: map.path, contents: Buffer.from(String(minified.map)) },
  ];
}

/** @param {string} folder */
async function bundles(folder) {
  return [
    ...(await bundle("index.js", "sbe-client.js", folder, [upkeepIsSeparate])),
    ...(await bundle("upkeep.js", "upkeep.js", folder)),
    ...(await bundle("element.js", "sbe-call.js", folder, [clientIsSeparate])),
  ];
}

/** @param {{path: string, contents: Uint8Array}[]} files */
function checkSizes(files) {
  for (const [name, limit] of Object.entries(LIMITS)) {
    const { contents } = /** @type {{contents: Uint8Array}} */ (files.find(({ path }) => basename(path) === name));
    const size = gzipSync(contents, { level: 9 }).length;
    console.log(`sbe-client ${name}: ${size} of ${limit} bytes, gzipped`);
    if (size > limit) throw new Error(`${name} is too large: ${size} bytes gzipped, at most ${limit}.`);
  }
}

/** @param {string} out */
async function makePackage(out) {
  const folder = join(out, "sbe-client");
  const dist = join(folder, "dist");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dist, { recursive: true });
  const files = await bundles(dist);
  checkSizes(files);
  for (const { path, contents } of files) writeFileSync(path, contents);
  const types = join(dist, "types");
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "-p", HERE, "--outDir", types], { stdio: "inherit" });
  copyFileSync(join(HERE, "element.d.ts"), join(types, "element.d.ts"));
  copyFileSync(join(HERE, "README.md"), join(folder, "README.md"));
  copyFileSync(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
  const manifest = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));
  const { name, ...rest } = manifest;
  writeFileSync(join(folder, "package.json"), `${JSON.stringify({ name, version: version(), ...rest }, null, 2)}\n`);
  // Commands that name the package as sbe-client-*.tgz must find one version.
  for (const name of readdirSync(out)) if (/^sbe-client-.*\.tgz$/.test(name)) rmSync(join(out, name));
  execFileSync("npm", ["pack", "--silent", "--pack-destination", out], { cwd: folder, stdio: "inherit" });
}

const { values } = parseArgs({ options: { size: { type: "boolean" }, out: { type: "string" } } });
if (values.size) checkSizes(await bundles(ROOT));
else await makePackage(resolve(values.out ?? join(ROOT, "dist")));
