// Takes a picture of every page, to be looked at: node look.mjs [phone|desk] [en|zh] [dark]
import { startShop, startBrowser, visit, unique, PASSWORD, GOOD_CARD } from "./lib.mjs";
const [screen = "desk", lang = "en", dark] = process.argv.slice(2);
const shop = process.env.SHOP ? { base: process.env.SHOP, stop() {} } : await startShop();
const browser = await startBrowser();
try {
  const v = await visit(browser, shop, { screen, lang, dark: dark === "dark" });
  const { page } = v;
  const tryShot = (label) => v.shot(label).catch((e) => console.log(String(e.message).slice(0, 1500)));
  for (const [label, path] of [["home", "/"], ["list", "/c/tableware"], ["department", "/c/home"], ["search", "/search?q=mug"], ["search-none", "/search?q=qqqq"], ["cart-empty", "/cart"], ["sign-in", "/sign-in"], ["sign-up", "/sign-up"], ["missing", "/nothing"]]) {
    await v.to(path); await tryShot(label);
  }
  await v.to("/c/tableware"); await page.locator(".card a").first().click(); await page.waitForSelector("#product"); await tryShot("product");
  await page.locator(".bar button").click(); await page.waitForSelector(".note.good"); await tryShot("product-added");
  await v.to("/c/audio"); await page.locator(".card a").first().click(); await page.locator(".bar button").click(); await page.waitForSelector(".note.good");
  await v.to("/cart"); await tryShot("cart");
  await v.to("/checkout"); await page.locator("main a[href*=sign-up]").click();
  await page.fill("[name=email]", `${unique("look")}@shop.test`); await page.fill("[name=name]", "Ada Lovelace");
  await page.fill("[name=password]", PASSWORD); await page.fill("[name=password_confirmation]", PASSWORD);
  await page.locator("main form button").click(); await page.waitForSelector(".pay"); await tryShot("checkout");
  await page.locator(".pay").click(); await page.waitForSelector(".note.bad"); await tryShot("checkout-wrong");
  for (const [n, x] of [["name", "Ada Lovelace"], ["country", "中国"], ["province", "北京市"], ["city", "北京市"], ["district", "海淀区"], ["street", "学院路 1 号"], ["postal_code", "01234"], ["number", GOOD_CARD], ["expiry", "12/30"], ["cvc", "012"]]) await page.fill(`[name=${n}]`, x);
  await page.locator(".pay").click(); await page.waitForSelector(".result"); await tryShot("result");
  await page.locator(".result a").first().click(); await page.waitForSelector(".story"); await tryShot("order");
  await v.to("/orders"); await tryShot("orders");
  await v.to("/account"); await tryShot("account");
  await v.to("/account/addresses"); await tryShot("addresses");
  console.log(v.faults);
} finally { await browser.close(); await shop.stop(); }
