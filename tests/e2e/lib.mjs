// A shop of its own for each run, a real browser, and what the scenarios share.
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { createRequire } from "node:module";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const binary = resolve(process.env.MALLARD_BIN ?? join(here, "../../target/debug/mallard"));
const shots = resolve(process.env.MALLARD_E2E_SHOTS ?? join(here, "artifacts"));
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const PASSWORD = "correct horse battery";
export const GOOD_CARD = "4242 4242 4242 4242";
export const DECLINED_CARD = "4000 0000 0000 0002";
export const SCREENS = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 900 } };

let next = 0;
/** Returns a text no other scenario of this run uses. */
export const unique = (prefix) => `${prefix}${process.pid}-${next++}`;

/** Longest wait of any kind, in milliseconds: it only ends a run that hangs, however busy the machine is. */
const PATIENCE = 300_000;
/** What keeps a busy machine from looking like a fault: no time limit of the shop is near what a page takes. */
const PATIENT = {
  GATEWAY__TIMEOUT_MS: 600_000, GATEWAY__READ_TIMEOUT_MS: 600_000, GATEWAY__CHECK_TIMEOUT_MS: 600_000, GATEWAY__BODY_TIMEOUT_MS: 600_000,
  GATEWAY__BODY_GRACE_MS: 600_000, GATEWAY__COPIES__WAIT_MS: 600_000, GATEWAY__COPIES__LOAD_TIMEOUT_MS: 600_000,
  GATEWAY__CONCURRENCY__LIMIT_MIN: 4_096, GATEWAY__CONCURRENCY__LIMIT_INITIAL: 4_096, GATEWAY__CONCURRENCY__LIMIT_MAX: 4_096,
  GATEWAY__CONCURRENCY__ONE_SERVICE_PERCENT: 100, WEB__READ_TIMEOUT_MS: 600_000, WEB__WRITE_TIMEOUT_MS: 600_000,
  HTTP__HEADER_READ_TIMEOUT_MS: 600_000, HTTP__IDLE_TIMEOUT_MS: 600_000, RPC__DEADLINE_DEFAULT_MS: 600_000,
};

/** Starts the real binary on an empty folder and waits until it serves the demo shop. */
export async function startShop() {
  const folder = mkdtempSync(join(tmpdir(), "mallard-e2e-"));
  const child = spawn(binary, ["up", "--data-dir", folder, "--listen", "127.0.0.1:0"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...Object.fromEntries(Object.entries(PATIENT).map(([key, value]) => [`MALLARD_${key}`, String(value)])) },
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log += text));
  const ended = new Promise((done) => child.once("exit", done));
  const base = await until("the shop listens", async () => {
    if (child.exitCode !== null) throw new Error(`the shop ended: ${log}`);
    try {
      return `http://${readFileSync(join(folder, "address"), "utf8").trim()}`;
    } catch {
      return "";
    }
  });
  await until("the shop is ready", async () => (await fetch(`${base}/readyz`).catch(() => null))?.ok);
  await until("the shop has goods", async () => {
    const answer = await fetch(`${base}/store/v1/products?limit=1&in_stock=true`).catch(() => null);
    return answer?.ok && (await answer.json()).products.length > 0;
  });
  return {
    base,
    folder,
    operator: () => readFileSync(join(folder, "admin-password"), "utf8").trim(),
    password: (file) => readFileSync(join(folder, file), "utf8").trim(),
    async stop() {
      child.kill("SIGTERM");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Returns the operator's way to the API: verb, path, body to the answer's body. */
export async function operator(shop) {
  const send = (token) => async (method, path, body) => {
    const answer = await fetch(`${shop.base}${path}`, {
      method,
      headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
      body: JSON.stringify(body),
    });
    assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
    return answer.status === 204 ? null : answer.json();
  };
  const login = await send("")("POST", "/auth/v1/login", { email: "admin@mallard.local", password: shop.operator() });
  return send(login.tokens.access_token);
}

/** Waits for a condition, never for a time; fails after some minutes, naming what was waited for. */
export async function until(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
    } catch (error) {
      // The page it looked at has just made room for the next one.
      if (!/context was destroyed|because of a navigation/.test(error.message)) throw error;
    }
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

/** Waits for an element, and for the rest of its page: what stands below it may still be on its way. */
export async function seen(locator) {
  await locator.waitFor();
  await locator.page().waitForLoadState("domcontentloaded");
}

/** Waits until an element says exactly this. */
export function says(locator, text) {
  return until(`${text} is said`, async () => (await locator.textContent()).trim() === text);
}

/** Starts the browser. */
export function startBrowser() {
  return chromium.launch({ timeout: PATIENCE, executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
}

/**
 * Opens a visitor: one screen, one language, with scripts or without. Every request to another host, every error of a page
 * and everything the policy of contents refuses is remembered, and `close` fails when there was any.
 */
export async function visit(browser, shop, { screen = "desk", lang = "en", scripts = true, dark = false } = {}) {
  const context = await browser.newContext({
    baseURL: shop.base,
    viewport: SCREENS[screen],
    locale: lang === "zh" ? "zh-CN" : "en-GB",
    javaScriptEnabled: scripts,
    colorScheme: dark ? "dark" : "light",
    isMobile: screen === "phone",
    hasTouch: screen === "phone",
  });
  context.setDefaultTimeout(PATIENCE);
  context.setDefaultNavigationTimeout(PATIENCE);
  const faults = [];
  await context.route("**/*", (route) => {
    const url = route.request().url();
    if (!url.startsWith(shop.base)) {
      faults.push(`asked another host: ${url}`);
      return route.abort();
    }
    return route.continue();
  });
  const page = await context.newPage();
  const watch = (page) => {
    page.on("pageerror", (error) => faults.push(`error of a page: ${error}`));
    page.on("console", (message) => {
      // A browser calls a refused form an error of the page; the scenarios look at statuses themselves.
      if (message.type() === "error" && !message.text().includes("Failed to load resource")) faults.push(`${page.url()}: ${message.text()}`);
    });
    page.on("response", (response) => {
      if (response.status() >= 500) faults.push(`${response.status()} ${response.url()}`);
    });
  };
  watch(page);
  context.on("page", watch);
  const name = `${screen}-${lang}${scripts ? "" : "-plain"}${dark ? "-dark" : ""}`;
  return {
    context,
    page,
    lang,
    scripts,
    screen,
    name,
    faults,
    to: (path) => page.goto(`/${lang}${path}`),
    /**
     * Keeps a picture of the whole page and looks for what keeps people out of it; a visitor with scripts sees it in the
     * dark, too.
     */
    async shot(label) {
      await page.waitForLoadState("load");
      // Colours do not depend on the language.
      for (const scheme of scripts && !dark && lang === "en" ? ["light", "dark"] : [dark ? "dark" : "light"]) {
        const folder = join(shots, scheme === "dark" && !dark ? `${name}-dark` : name);
        mkdirSync(folder, { recursive: true });
        await page.emulateMedia({ colorScheme: scheme });
        await unrolled(page, () => page.screenshot({ path: join(folder, `${label}.png`) }));
        if (scripts) await accessible(page, `${name} ${scheme} ${label}`);
      }
      await page.emulateMedia({ colorScheme: dark ? "dark" : "light" });
      await fits(page, `${name} ${label}`);
    },
    async close() {
      // Whatever a page still asks for by itself is nobody's any more.
      await context.unrouteAll({ behavior: "ignoreErrors" });
      await context.close();
      assert.deepEqual(faults, [], name);
    },
  };
}

/** Makes the screen as tall as the page, so that every picture that waits to be seen comes, and tells its own size back. */
async function unrolled(page, shoot) {
  const size = page.viewportSize();
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ width: size.width, height: Math.max(height, size.height) });
  // For whoever looks at the pictures: nothing depends on it, and a page that asks again and again is never quiet for sure.
  await page.waitForLoadState("networkidle", { timeout: 5_000 }).catch(() => {});
  await shoot();
  await page.setViewportSize(size);
}

/** Runs axe-core; serious and critical findings fail. The library is put in by the debugger, the page's policy stays as it is. */
async function accessible(page, label) {
  const found = await page.evaluate(async (source) => {
    if (!window.axe) (0, eval)(source);
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html.slice(0, 140)} (${node.failureSummary})`).join("; ")}`);
  }, axeSource);
  assert.deepEqual(found, [], label);
}

/** Checks that nothing makes the page scroll sideways. */
async function fits(page, label) {
  const { scroll, client } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth,
    client: document.documentElement.clientWidth,
  }));
  assert.ok(scroll <= client, `${label}: ${scroll} px wide on a screen of ${client}`);
}
