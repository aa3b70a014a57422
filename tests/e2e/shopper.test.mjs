// The shopper's ways through the shop, in a real browser: on a phone and on a desk, in both languages, with scripts and without.
import { describe, test, before, after } from "node:test";
import assert from "node:assert/strict";
import { startShop, startBrowser, operator, visit, unique, until, seen, says, PASSWORD, GOOD_CARD, DECLINED_CARD } from "./lib.mjs";

let shop;
let browser;
before(async () => {
  shop = await startShop();
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await shop?.stop();
});

const ADDRESS = {
  name: "Ada Lovelace", phone: "+86 10 5555 0100", country: "中国", province: "北京市", city: "北京市",
  district: "海淀区", street: "学院路 1 号", postal_code: "01234",
};

/** Makes an account, from wherever the visitor was sent to sign in. */
async function signUp(v) {
  const email = `${unique("e2e")}@shop.test`;
  if (!v.page.url().includes("/sign-")) await v.to("/sign-in");
  await v.page.locator("main a[href*='/sign-up']").click();
  await v.page.fill("[name=email]", email);
  await v.page.fill("[name=name]", "Ada Lovelace");
  await v.page.fill("[name=password]", PASSWORD);
  await v.page.fill("[name=password_confirmation]", PASSWORD);
  await v.page.locator("main form button").click();
  await v.page.waitForURL((url) => !url.pathname.includes("/sign-"));
  return email;
}

/** Puts the first product of a shelf into the cart by hand. */
async function addFrom(v, shelf) {
  await v.to(`/c/${shelf}`);
  await v.page.locator(".card:not(:has(.tag)) a").first().click();
  await v.page.locator(".bar button").click();
  await seen(v.page.locator(".note.good"));
}

async function fillAddress(v) {
  for (const [name, value] of Object.entries(ADDRESS)) await v.page.fill(`[name=${name}]`, value);
}

async function fillCard(v, number) {
  await v.page.fill("[name=number]", number);
  await v.page.fill("[name=expiry]", "12/30");
  await v.page.fill("[name=cvc]", "012");
}

// Two at a time: a browser and a shop are two processes, and so are the cores of a small machine.
describe("shopper", { concurrency: 2 }, () => {
for (const screen of ["phone", "desk"]) {
  for (const lang of ["en", "zh"]) {
    for (const scripts of [true, false]) {
      test(`the whole purchase: ${screen}, ${lang}, ${scripts ? "with" : "without"} scripts`, async () => {
        const v = await visit(browser, shop, { screen, lang, scripts });
        const { page } = v;
        await page.goto("/");
        assert.equal(await page.locator("html").getAttribute("lang"), lang === "zh" ? "zh-Hans" : "en");
        await v.to("/");
        await v.shot("01-home");
        await page.locator(".tile").first().click();
        await v.shot("02-department");
        await page.locator(".chips .chip").first().click();
        await v.shot("03-shelf");
        await page.fill("#q", lang === "zh" ? "杯" : "mug");
        await page.locator(".search button").click();
        await page.waitForURL("**/search?q=**");
        await seen(page.locator(".card").first());
        await v.shot("04-search");
        await page.locator(".card:not(:has(.tag)) a").first().click();
        await seen(page.locator("#product"));
        await v.shot("05-product");
        // Another variant: its price and its stock, and it is this one that goes into the cart.
        const chip = page.locator(".option .chip:not([aria-current]):not(.gone)").first();
        const name = (await chip.textContent()).trim();
        await chip.click();
        await until("the variant is chosen", async () =>
          (await page.locator(".option .chip[aria-current]").allTextContents()).some((text) => text.trim() === name));
        assert.match(page.url(), /sku=sku_/);
        const price = (await page.locator(".price-big").textContent()).trim();
        await page.locator(".bar button").click();
        await seen(page.locator(".note.good"));
        await says(page.locator(".badge"), "1");
        await v.shot("06-added");
        await page.locator("#badge").click();
        assert.ok((await page.locator(".line").textContent()).includes(name));
        assert.equal((await page.locator(".line-total").textContent()).trim(), price);
        await page.fill(".line .quantity", "2");
        if (scripts) await page.locator(".line .quantity").blur();
        else await page.locator(".line .row button").click();
        await until("the cart counts two", async () => (await page.locator(".line-total").textContent()).trim() !== price);
        await v.shot("07-cart");
        await page.locator(".sum a.button").click();
        await page.waitForURL("**/sign-in?next=**");
        await v.shot("08-sign-in");
        await signUp(v);
        await page.waitForURL("**/checkout");
        await v.shot("09-checkout");
        // Everything that is missing is marked at once.
        await page.locator(".pay").click();
        await seen(page.locator(".note.bad"));
        assert.ok((await page.locator("[aria-invalid=true]").count()) >= 5);
        await v.shot("10-checkout-missing");
        await fillAddress(v);
        await fillCard(v, DECLINED_CARD);
        await page.locator(".pay").click();
        await seen(page.locator("#e-number"));
        await v.shot("11-checkout-declined");
        assert.equal(await page.locator("[name=street]").inputValue(), ADDRESS.street);
        assert.equal(await page.locator("[name=number]").inputValue(), "");
        await says(page.locator(".badge"), "1");
        await fillCard(v, GOOD_CARD);
        await page.locator(".pay").click();
        await seen(page.locator(".result.good"));
        await v.shot("12-paid");
        assert.equal(await page.locator(".badge").count(), 0);
        await page.locator(".result .button").first().click();
        await seen(page.locator(".story"));
        await v.shot("13-order");
        assert.ok((await page.locator("address").textContent()).includes("01234"));
        // The declined attempt is there too, as what it became: cancelled.
        await v.to("/orders");
        assert.equal(await page.locator(".order-card").count(), 2);
        assert.equal(await page.locator(".order-card .state.bad").count(), 1);
        await v.shot("14-orders");
        await v.to("/orders?status=paid");
        assert.equal(await page.locator(".order-card").count(), 1);
        await v.to("/account");
        await v.shot("15-account");
        await v.to("/account/addresses");
        assert.equal(await page.locator("address").count(), 1);
        await v.shot("16-addresses");
        await v.to("/nothing");
        await v.shot("17-missing");
        await v.to("/search?q=qqqqqq");
        await v.shot("18-nothing-found");
        await v.to("/account");
        await page.locator("form[action$='/sign-out'] button").click();
        await seen(page.locator(".note.good"));
        await v.close();
      });
    }
  }
}

test("a double click on pay makes one order", async () => {
  for (const scripts of [true, false]) {
    const v = await visit(browser, shop, { scripts });
    await signUp(v);
    await addFrom(v, "tableware");
    await v.to("/checkout");
    await fillAddress(v);
    await fillCard(v, GOOD_CARD);
    await v.page.locator(".pay").dblclick();
    await seen(v.page.locator(".result.good"));
    await v.to("/orders");
    assert.equal(await v.page.locator(".order-card").count(), 1, `scripts: ${scripts}`);
    await v.close();
  }
});

test("the back button after paying leads to no second order", async () => {
  const v = await visit(browser, shop, {});
  const { page } = v;
  await signUp(v);
  await addFrom(v, "tableware");
  await v.to("/checkout");
  await fillAddress(v);
  await fillCard(v, GOOD_CARD);
  await page.locator(".pay").click();
  await seen(page.locator(".result.good"));
  const paid = new URL(page.url()).pathname;
  await page.goBack();
  // The page is asked for anew: the cart is empty, so there is nothing to check out.
  await page.waitForURL("**/cart");
  await seen(page.locator(".empty"));
  await page.goForward();
  await seen(page.locator(".result.good"));
  assert.equal(new URL(page.url()).pathname, paid);
  await v.to("/orders");
  assert.equal(await page.locator(".order-card").count(), 1);
  await v.close();
});

test("two tabs change one cart and both see it", async () => {
  const v = await visit(browser, shop, {});
  await addFrom(v, "tableware");
  const other = await v.context.newPage();
  await other.goto("/en/c/audio");
  await other.locator(".card:not(:has(.tag)) a").first().click();
  await other.locator(".bar button").click();
  await seen(other.locator(".note.good"));
  await says(other.locator(".badge"), "2");
  await v.to("/cart");
  assert.equal(await v.page.locator(".line").count(), 2);
  // One tab removes a line while the other still shows it, and changes its quantity.
  await other.goto("/en/cart");
  const removed = await v.page.locator(".line .line-title").first().textContent();
  await v.page.locator(".line .icon-button").first().click();
  await until("the line is gone", async () => (await v.page.locator(".line").count()) === 1);
  await other.locator(".line .icon-button").first().click();
  await until("the other tab sees it", async () => (await other.locator(".line").count()) === 1);
  assert.notEqual(await other.locator(".line .line-title").first().textContent(), removed);
  await v.close();
});

test("a price that changes on the way is shown before anything is ordered", async () => {
  const admin = await operator(shop);
  const money = (amount) => ({ amount, currency: "CNY" });
  const made = await admin("POST", "/admin/v1/products", {
    title: "Weathercock", status: "listed", variants: [{ price: money(5_000), stock: 9 }],
  });
  const { id, variants } = made.product;
  const v = await visit(browser, shop, { screen: "phone" });
  const { page } = v;
  await signUp(v);
  await until("it is in stock", async () => {
    await v.to(`/p/${id}`);
    return page.locator(".bar button:not([disabled])").count();
  });
  await v.shot("no-picture");
  await page.locator(".bar button").click();
  await v.to("/checkout");
  await fillAddress(v);
  await fillCard(v, GOOD_CARD);
  await admin("PATCH", `/admin/v1/products/${id}`, { variants: [{ id: variants[0].id, price: money(6_000) }] });
  await page.locator(".pay").click();
  await seen(page.locator(".note.warn"));
  assert.ok((await page.locator(".note.warn").textContent()).includes("¥60.00"));
  await v.shot("checkout-new-total");
  await v.to("/orders");
  assert.equal(await page.locator(".order-card").count(), 0);
  const marked = (mark) => until(`the cart marks it ${mark}`, async () => {
    await v.to("/cart");
    return page.locator(mark).count();
  });
  await marked(".mark.warn");
  await v.shot("cart-price-changed");
  await admin("POST", `/admin/v1/products/${id}/delist`, {});
  await marked(".mark.bad");
  await v.shot("cart-delisted");
  await v.close();
});

test("an order for later waits, is paid after a declined card, or is cancelled", async () => {
  const v = await visit(browser, shop, { screen: "phone" });
  const { page } = v;
  await signUp(v);
  const order = async () => {
    await addFrom(v, "stationery");
    await v.to("/checkout");
    if (await page.locator(".new-address.always").count()) await fillAddress(v);
    await page.locator("#pay-later").check();
    assert.ok(!(await page.locator("[name=number]").isVisible()));
    await page.locator(".pay").click();
    await seen(page.locator(".result.warn"));
  };
  await order();
  await v.shot("later-result");
  await page.locator(".result .button").first().click();
  await v.shot("later-order");
  await fillCard(v, DECLINED_CARD);
  await page.locator("form[action$='/pay'] button").click();
  await seen(page.locator(".note.bad"));
  await v.shot("later-declined");
  await fillCard(v, GOOD_CARD);
  await page.locator("form[action$='/pay'] button").click();
  await seen(page.locator(".result.good"));
  await order();
  await page.locator(".result .button").first().click();
  await page.locator("summary").last().click();
  await page.locator("form[action$='/cancel'] button").click();
  await seen(page.locator(".state.bad"));
  await v.shot("later-cancelled");
  await v.close();
});

test("what fails without a new page says so and empties nothing", async () => {
  const words = { en: /may not have been saved/, zh: /可能未保存/ };
  for (const lang of ["en", "zh"]) {
    const v = await visit(browser, shop, { lang });
    const { page } = v;
    await addFrom(v, "tableware");
    await v.to("/cart");
    const total = await page.locator(".line-total").textContent();
    const type = async (text) => {
      await page.fill(".line .quantity", text);
      await page.locator(".line .quantity").blur();
    };
    // Nobody answers.
    await page.route("**/cart/set", (route) => route.abort());
    await type("4");
    await seen(page.locator("#unsaved"));
    assert.match(await page.locator("#unsaved").textContent(), words[lang]);
    // A mall that is full answers with a small page of its own: its words stand above the cart, in this language.
    await page.unroute("**/cart/set");
    const full = '<main id="main"><h1>503</h1><p lang="zh">访问人数较多。</p><p>The shop is very busy.</p></main>';
    await page.route("**/cart/set", (route) => route.fulfill({ status: 503, contentType: "text/html; charset=utf-8", body: full }));
    await type("5");
    const busy = lang === "en" ? "The shop is very busy." : "访问人数较多。";
    await until("the refusal is said", async () => (await page.locator("#unsaved").textContent()) === busy);
    assert.equal(await page.locator(".line").count(), 1);
    await v.shot("cart-unsaved");
    await page.unroute("**/cart/set");
    await type("2");
    await until("the quantity is saved", async () => (await page.locator(".line-total").textContent()) !== total);
    assert.equal(await page.locator("#unsaved").count(), 0);
    // What cannot be is said at the field.
    await type("0");
    await until("the field has the focus", () => page.evaluate(() => document.activeElement.matches(".quantity:invalid")));
    // These were meant to fail.
    const meant = v.faults.splice(0);
    assert.ok(meant.every((fault) => /htmx:(afterRequest|sendError)|^503 .*cart\/set$/.test(fault)), meant.join("\n"));
    await v.close();
  }
});

test("a quantity typed right before the checkout goes with it", async () => {
  const v = await visit(browser, shop, {});
  const { page } = v;
  await addFrom(v, "tableware");
  await v.to("/cart");
  const link = page.locator("a.to-checkout");
  await page.fill(".line .quantity", "3");
  await link.click();
  await page.waitForURL("**/sign-in?next=**");
  await v.to("/cart");
  assert.equal(await page.locator(".line .quantity").inputValue(), "3");
  // One that cannot be goes nowhere.
  await page.fill(".line .quantity", "0");
  await link.click();
  await until("the field has the focus", () => page.evaluate(() => document.activeElement.matches(".quantity:invalid")));
  assert.ok(page.url().endsWith("/cart"));
  // What was removed takes no focus with it.
  await page.locator(".line .icon-button").click();
  await seen(page.locator(".empty"));
  await until("the page has the focus", () => page.evaluate(() => document.activeElement.id === "main"));
  await v.close();
});

test("links to the other language and to the sign-in know the variant that was chosen", async () => {
  const v = await visit(browser, shop, {});
  const { page } = v;
  await v.to("/c/tableware");
  await page.locator(".card:not(:has(.tag)) a").first().click();
  await page.locator(".option .chip:not([aria-current]):not(.gone)").first().click();
  await page.waitForURL("**sku=**");
  const sku = new URL(page.url()).searchParams.get("sku");
  await until("both links know it", async () =>
    (await page.locator("#languages a[lang^=zh]").getAttribute("href")).includes(sku) &&
    (await page.locator("#personal a[href*='/sign-in']").getAttribute("href")).includes(sku));
  await v.close();
});

test("by keyboard alone: skip link, visible focus, into the cart", async () => {
  const v = await visit(browser, shop, {});
  const { page } = v;
  await v.to("/c/tableware");
  await page.keyboard.press("Tab");
  await until("the skip link has the focus", () => page.evaluate(() => document.activeElement.className === "skip"));
  const box = await page.locator(".skip").boundingBox();
  assert.ok(box.y >= 0, "the skip link shows when it has the focus");
  await page.keyboard.press("Enter");
  await until("the page has the focus", () => page.evaluate(() => document.activeElement.id === "main"));
  await page.locator(".card:not(:has(.tag)) a").first().focus();
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none");
  await page.keyboard.press("Enter");
  await page.locator(".bar button").focus();
  await page.keyboard.press("Enter");
  await seen(page.locator(".note.good"));
  await v.close();
});

test("a quantity changed by keyboard leaves the focus where it went, and a removed line gives it to the page", async () => {
  const v = await visit(browser, shop);
  const { page } = v;
  await addFrom(v, "kitchen");
  await v.to("/cart");
  const was = await page.locator(".line-total").textContent();
  await page.fill(".line .quantity", "2");
  await page.keyboard.press("Tab");
  await until("the cart has two", async () => (await page.locator(".line-total").textContent()) !== was);
  const focused = () => page.evaluate(() => document.activeElement.closest("form")?.getAttribute("action") ?? document.activeElement.id);
  await until("the focus is on a part of the page", async () => (await focused()) !== "");
  assert.match(await focused(), /cart.remove$/);
  await page.keyboard.press("Enter");
  await seen(page.locator("main .empty"));
  await until("the focus is on the page", async () => (await focused()) === "main");
  await v.close();
});

for (const screen of ["phone", "desk"]) {
  test(`a word longer than the screen makes no page wider: ${screen}`, async () => {
    const v = await visit(browser, shop, { screen });
    await v.to(`/search?q=${"abcdefghij".repeat(6)}`);
    await v.shot("long-word");
    await v.close();
  });
}

test("the button of the filters is seen without scrolling through them", async () => {
  const v = await visit(browser, shop);
  await v.page.setViewportSize({ width: 1280, height: 720 });
  await v.to("/search?q=mug");
  const shown = () => v.page.locator(".filters .actions .button").first().evaluate((button) => {
    const { left, top, width, height } = button.getBoundingClientRect();
    return button.contains(document.elementFromPoint(left + width / 2, top + height / 2)) && top + height <= innerHeight;
  });
  await until("the filters are open", () => v.page.locator("details.filters[open]").count());
  assert.ok(await shown());
  await v.close();
});

test("a list is narrowed by brand, price and stock, and all of it is taken back", async () => {
  for (const screen of ["phone", "desk"]) {
    const v = await visit(browser, shop, { screen });
    const { page } = v;
    await v.to("/c/home");
    const cards = () => page.locator(".card").count();
    const count = async () => Number((await page.locator(".head [role=status]").textContent()).match(/\d+/)[0]);
    const all = await count();
    const filters = page.locator("details.filters");
    if (!(await filters.evaluate((one) => one.open))) await filters.locator("summary").click();
    const brand = page.locator("input[name=brand]").nth(1);
    const label = await brand.locator("..").textContent();
    await brand.check();
    await page.locator("aside button").click();
    await page.waitForURL("**brand=**");
    assert.equal(await count(), Number(label.match(/\((\d+)\)/)[1]));
    assert.ok((await count()) < all);
    const span = page.locator(".spans a").first();
    const within = Number((await span.textContent()).match(/\((\d+)\)/)[1]);
    await span.click();
    await page.waitForURL("**min=**");
    assert.equal(await count(), within);
    assert.equal(await cards(), Math.min(within, 24));
    await v.shot("filtered");
    await page.locator("aside .button.ghost").click();
    await page.waitForURL((url) => !url.search.includes("brand"));
    assert.equal(await count(), all);
    await v.close();
  }
});

test("goods that were sent are given back, and the shop's word is on the order", async () => {
  const admin = await operator(shop);
  const v = await visit(browser, shop, { screen: "phone" });
  const { page } = v;
  await signUp(v);
  await addFrom(v, "tableware");
  await v.to("/checkout");
  // A code that is none is said so; what was typed stays.
  await fillAddress(v);
  await page.locator(".coupon summary").click();
  await page.fill("[name=coupon]", "SPRING");
  await page.locator("[name=apply]").click();
  await seen(page.locator("#e-coupon"));
  assert.equal(await page.locator("[name=street]").inputValue(), ADDRESS.street);
  await v.shot("coupon-unknown");
  await page.fill("[name=coupon]", "");
  await fillCard(v, GOOD_CARD);
  await page.locator(".pay").click();
  await seen(page.locator(".result.good"));
  const id = new URL(page.url()).pathname.split("/").pop();
  await admin("POST", `/admin/v1/orders/${id}/ship`, { carrier: "SF", tracking_number: "SF1234567890" });
  await v.to(`/orders/${id}`);
  await v.shot("sent");
  await page.locator("#return summary").click();
  await page.locator("#return button").click();
  await seen(page.locator(".note.bad"));
  await page.fill("#return .quantity", "1");
  await page.fill("[name=reason]", "It is smaller than I thought");
  await page.locator("#return button").click();
  await seen(page.locator(".note.good"));
  await v.shot("return-asked");
  const { returns } = await admin("GET", "/admin/v1/returns?status=requested");
  const mine = returns.find((one) => one.order_id === id);
  await admin("POST", `/admin/v1/returns/${mine.id}/refuse`, { answer: "It was used." });
  await v.to(`/orders/${id}`);
  assert.ok((await page.locator("#returns ~ ul").textContent()).includes("It was used."));
  await v.shot("return-refused");
  await v.close();
});

test("another password, and the end of an account", async () => {
  const v = await visit(browser, shop, { screen: "phone", lang: "zh" });
  const { page } = v;
  await signUp(v);
  await v.to("/account/password");
  await page.fill("[name=current]", "not my password");
  await page.fill("[name=password]", `${PASSWORD} 2`);
  await page.fill("[name=password_confirmation]", `${PASSWORD} 2`);
  await page.locator("main form button").click();
  await seen(page.locator("#e-current"));
  await v.shot("password-wrong");
  await page.fill("[name=current]", PASSWORD);
  await page.fill("[name=password]", `${PASSWORD} 2`);
  await page.fill("[name=password_confirmation]", `${PASSWORD} 2`);
  await page.locator("main form button").click();
  await seen(page.locator(".note.good"));
  await v.to("/account/delete");
  await v.shot("delete");
  await page.fill("[name=password]", `${PASSWORD} 2`);
  await page.locator("main form button").click();
  await seen(page.locator(".note.good"));
  await v.to("/account");
  await page.waitForURL("**/sign-in?next=**");
  await v.close();
});

test("what was bought most stands on the first page", async () => {
  const v = await visit(browser, shop, {});
  await signUp(v);
  for (const shelf of ["tableware", "audio"]) {
    await addFrom(v, shelf);
    await v.to("/checkout");
    if (await v.page.locator(".new-address.always").count()) await fillAddress(v);
    await fillCard(v, GOOD_CARD);
    await v.page.locator(".pay").click();
    await seen(v.page.locator(".result.good"));
  }
  await until("the best sellers are there", async () => {
    await v.to("/");
    return v.page.locator("#best").count();
  });
  await v.shot("home-best");
  await v.close();
});
});
