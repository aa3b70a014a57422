// The consoles in a real browser: a seller's product with a picture appears in the shop, its order is shipped, found and refunded,
// a ban stops an account; every page on a phone and on a desk, light and dark, in both languages, with scripts and without.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { startShop, startBrowser, visit, unique, until, seen, PASSWORD, GOOD_CARD } from "./lib.mjs";

const OPERATOR = "admin@mallard.local";
const SELLER = "lotus@mallard.local";

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

/** Signs in from wherever the visitor was sent to do so. */
async function signIn(v, email, password, to) {
  await v.to(to);
  await v.page.waitForURL("**/sign-in?next=**");
  await v.page.fill("[name=email]", email);
  await v.page.fill("[name=password]", password);
  await v.page.locator("main form button").click();
  await v.page.waitForURL((url) => !url.pathname.includes("/sign-in"));
}

/** Makes an account with nothing in it; returns its e-mail address. */
async function signUp(v) {
  const email = `${unique("console")}@shop.test`;
  await v.to("/sign-up");
  await v.page.fill("[name=email]", email);
  await v.page.fill("[name=name]", "Ada Lovelace");
  await v.page.fill("[name=password]", PASSWORD);
  await v.page.fill("[name=password_confirmation]", PASSWORD);
  await v.page.locator("main form button").click();
  await v.page.waitForURL((url) => !url.pathname.includes("/sign-"));
  return email;
}

/** Buys what a product page offers; returns the order's path. */
async function buy(v, product, quantity) {
  await v.to(`/p/${product}`);
  await v.page.locator(".bar button").click();
  await seen(v.page.locator(".note.good"));
  await v.to("/cart");
  if (quantity > 1) {
    const total = v.page.locator(".line-total");
    const one = await total.textContent();
    await v.page.fill(".line .quantity", String(quantity));
    if (v.scripts) await v.page.locator(".line .quantity").blur();
    else await v.page.locator(".line .row button").click();
    // The field shows what was typed; the total is the cart's word that it has them.
    await until("the cart has them", async () => (await total.textContent()) !== one);
  }
  await v.to("/checkout");
  const address = { name: "Ada Lovelace", phone: "+86 10 5555 0100", country: "中国", province: "北京市", city: "北京市", district: "海淀区", street: "学院路 1 号", postal_code: "01234" };
  // The second order goes to the address of the first.
  if (await v.page.locator("[name=street]").isVisible()) {
    for (const [name, value] of Object.entries(address)) await v.page.fill(`[name=${name}]`, value);
  }
  await v.page.fill("[name=number]", GOOD_CARD);
  await v.page.fill("[name=expiry]", "12/30");
  await v.page.fill("[name=cvc]", "012");
  await v.page.locator(".pay").click();
  await seen(v.page.locator(".result.good"));
  await v.page.locator(".result .button").first().click();
  await seen(v.page.locator(".story"));
  return new URL(v.page.url()).pathname.replace(/^\/(en|zh)/, "");
}

/** Draws a picture: what the screen shows of a coloured page. */
async function drawing() {
  const page = await browser.newPage({ viewport: { width: 600, height: 600 } });
  await page.setContent("<body style='margin:0;background:linear-gradient(135deg,#0f5b4f,#f0a35e)'><div style='position:absolute;left:180px;top:180px;width:240px;height:260px;background:#fbfaf7;border-radius:0 0 90px 90px'></div></body>");
  const png = await page.screenshot();
  await page.close();
  return png;
}

test("a seller's product with a picture appears in the shop; its order is shipped, found and refunded", async () => {
  assert.equal(statSync(`${shop.folder}/seller-password`).mode & 0o777, 0o600);
  const seller = await visit(browser, shop, { lang: "en" });
  const { page } = seller;
  await signIn(seller, SELLER, shop.password("seller-password"), "/seller");
  await seen(page.locator("h1"));
  await seller.shot("seller-01-overview");
  await page.locator(".head .button").click();
  await seller.shot("seller-02-new-empty");
  // What is missing is said beside its field, and what was typed stays.
  await page.fill("[name='variants[0].price']", "dear");
  await page.locator("main form .actions .button").first().click();
  await seen(page.locator("#e-title"));
  await seller.shot("seller-03-new-refused");
  const title = unique("Tide mug ");
  await page.fill("[name=title]", title);
  await page.fill("[name=title_zh]", `${title} 潮汐杯`);
  await page.fill("[name=description]", "Thrown by hand, glazed twice.");
  await page.locator("[name=category]").first().check();
  await page.fill("[name=option0]", "Colour");
  for (const [i, [colour, price, stock]] of [["Sea", "39.90", "5"], ["Sand", "42", "0"]].entries()) {
    await page.fill(`[name='variants[${i}].o0']`, colour);
    await page.fill(`[name='variants[${i}].price']`, price);
    await page.fill(`[name='variants[${i}].stock']`, stock);
  }
  await page.getByRole("button", { name: "Room for more variants" }).click();
  await seen(page.locator("[name='variants[5].price']"));
  assert.equal(await page.locator("[name=title]").inputValue(), title);
  await page.locator("main form .actions .button").first().click();
  await page.waitForURL("**/seller/products/prod_*");
  const product = new URL(page.url()).pathname.split("/").pop();
  await seller.shot("seller-04-draft");
  assert.equal((await fetch(`${shop.base}/en/p/${product}`, { headers: { accept: "text/html" } })).status, 404);

  // A text, and a file beyond the limit, are refused beside the field.
  const add = page.locator("form[action$='/pictures/add']");
  await add.locator("[type=file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
  await add.locator("button").click();
  await seen(page.locator("#e-file"));
  await seller.shot("seller-05-picture-refused");
  await add.locator("[type=file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.alloc(5 * 1024 * 1024) });
  await add.locator("button").click();
  await seen(page.locator("#e-file", { hasText: "2 MiB" }));
  await add.locator("[type=file]").setInputFiles({ name: "mug.png", mimeType: "image/png", buffer: await drawing() });
  await add.locator("[name=alt]").fill("A sea-green mug");
  await add.locator("button").click();
  await seen(page.locator(".goods-pictures img"));
  await seller.shot("seller-06-picture");
  await page.locator("form[action$='/list'] button").click();
  await seen(page.locator(".head .state.good"));
  await seller.shot("seller-07-listed");

  // The shop shows it, picture and all.
  const shopper = await visit(browser, shop, { screen: "phone" });
  const email = await signUp(shopper);
  await until("the product is on the shelf", async () => (await shopper.to(`/p/${product}`)).status() === 200);
  const picture = shopper.page.locator("main img[alt='A sea-green mug'], .big").first();
  await until("its picture is drawn", () => picture.evaluate((img) => img.complete && img.naturalWidth === 600));
  assert.ok((await shopper.page.locator("h1").textContent()).includes(title));
  const order = await buy(shopper, product, 3);

  // Two tabs of the seller's: the second to save is told.
  const other = await seller.context.newPage();
  await other.goto(page.url());
  await page.locator("#f-title").fill(`${title} I`);
  await page.locator("#block-texts .actions .button").first().click();
  await seen(page.locator(".note.good"));
  await other.locator("#f-title").fill(`${title} II`);
  await other.locator("#block-texts .actions .button").first().click();
  await other.locator("#block-texts .note.warn a").click();
  assert.equal(await other.locator("#f-title").inputValue(), `${title} I`);
  await other.close();

  // The order waits for the seller, who sends two of three.
  await seller.to("/seller/orders");
  await seller.shot("seller-08-orders");
  await page.locator(".table tbody a").first().click();
  await seller.shot("seller-09-order");
  const number = (await page.locator("h1").textContent()).trim().split(" ").pop();
  await page.fill("[name=carrier]", "SF Express");
  await page.fill("[name=tracking_number]", "SF123456789");
  await page.locator("[name^='ship.']").fill("2");
  await page.locator("#block-ship .button").click();
  await seen(page.locator(".note.good"));
  await seller.shot("seller-10-order-partly-shipped");
  assert.equal(await page.locator("[name^='ship.']").inputValue(), "1");
  await seller.to("/seller/stock");
  await seller.shot("seller-11-stock");
  await page.locator(".table tbody a").first().click();
  await page.fill("[name=delta]", "4");
  await page.fill("[name=reason]", "Found behind the kiln");
  await page.locator("#block-adjust .button").click();
  await seen(page.locator(".note.good"));
  await seller.shot("seller-12-stock-adjusted");
  await seller.to("/seller/products");
  await seller.shot("seller-13-products");

  // The operator finds it by its number and gives one back.
  const operator = await visit(browser, shop, {});
  const desk = operator.page;
  await signIn(operator, OPERATOR, shop.operator(), "/operator");
  await seen(desk.locator("#block-live .table"));
  await operator.shot("operator-01-dashboard");
  await operator.to("/operator/orders");
  await desk.fill("[name=number]", number);
  await desk.locator(".filter-bar .button").first().click();
  assert.equal(await desk.locator(".table tbody tr").count(), 1);
  await operator.shot("operator-02-orders");
  await desk.locator(".table tbody a").first().click();
  await operator.shot("operator-03-order");
  const refund = desk.locator("form[action$='/refund']");
  await desk.locator("summary", { hasText: "Refund" }).click();
  await refund.locator("[name=amount]").fill("1,000,000");
  await refund.locator("[name=reason]").fill("One came broken");
  await refund.locator("button").click();
  await seen(desk.locator("#e-amount"));
  await operator.shot("operator-04-refund-refused");
  assert.equal(await refund.locator("[name=reason]").inputValue(), "One came broken");
  await refund.locator("[name=amount]").fill("39.90");
  await refund.locator("button").dblclick();
  await seen(desk.locator(".note.good"));
  await operator.shot("operator-05-refunded");
  await until("the shopper sees it", async () => {
    await shopper.to(order);
    return (await shopper.page.locator(".totals").allTextContents()).some((text) => text.includes("39.90"));
  });

  // A ban stops the account that is signed in; without it, it goes on.
  await operator.to("/operator/users");
  await desk.fill("[name=q]", email);
  await desk.locator(".filter-bar .button").first().click();
  await operator.shot("operator-06-users");
  await desk.locator(".table tbody a").first().click();
  await operator.shot("operator-07-user");
  await desk.locator(".fold summary", { hasText: "Ban" }).click();
  await desk.selectOption("[name=level]", "login");
  await desk.fill("[name=reason]", "Chargebacks");
  await desk.locator("form[action$='/ban'] button").click();
  await seen(desk.locator(".note.good"));
  await operator.shot("operator-08-banned");
  await until("the account is stopped", async () => (await shopper.to("/orders")).status() !== 200 || shopper.page.url().includes("/sign-in"));
  await shopper.to("/sign-in");
  await shopper.page.fill("[name=email]", email);
  await shopper.page.fill("[name=password]", PASSWORD);
  await shopper.page.locator("main form button").click();
  await seen(shopper.page.locator(".note.bad"));
  await desk.locator("form[action$='/unban'] button").click();
  await until("the ban is lifted", async () => (await desk.locator("form[action$='/unban']").count()) === 0);
  await shopper.page.fill("[name=email]", email);
  await shopper.page.fill("[name=password]", PASSWORD);
  await shopper.page.locator("main form button").click();
  await shopper.page.waitForURL((url) => !url.pathname.includes("/sign-in"));

  // The dashboard finds new orders by itself.
  await operator.to("/operator");
  await seen(desk.locator("#block-live .table"));
  const before = await desk.locator("#block-live tbody a").first().getAttribute("href");
  await buy(shopper, product, 1);
  await until("the new order is on the dashboard", async () =>
    (await desk.locator("#block-live tbody a").first().getAttribute("href")) !== before);
  for (const v of [seller, shopper, operator]) await v.close();
});

test("what renews itself takes the focus from nobody and folds nothing that is read", async () => {
  const v = await visit(browser, shop);
  const { page } = v;
  await signIn(v, OPERATOR, shop.operator(), "/operator");
  const live = page.locator("#block-live[hx-trigger^=every]");
  await seen(live);
  assert.equal(await page.evaluate(() => document.activeElement === document.body), true);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  // What becomes of the next time it asks by itself: it is kept as it is, or replaced.
  await page.evaluate(() => {
    document.querySelector("#block-live a").focus();
    document.addEventListener("htmx:beforeRequest", ({ detail, defaultPrevented }) => {
      if (detail.elt.id === "block-live" && defaultPrevented) document.body.dataset.live = "kept";
    });
    document.addEventListener("htmx:afterSettle", () => (document.body.dataset.live ??= "replaced"));
  });
  const fate = () => page.evaluate(() => document.body.dataset.live);
  await until("it would be renewed", fate);
  assert.equal(await fate(), "kept");
  assert.equal(await page.evaluate(() => document.activeElement.closest("#block-live") !== null), true);
  // The sales ask once a minute, by the same rule: here they are told to ask now.
  const table = page.locator("details.fold").first();
  await table.locator("summary").click();
  await page.evaluate(() => document.activeElement.blur());
  const asked = await table.evaluate((one) => {
    const part = one.closest("[hx-trigger*=every]");
    const xhr = new CustomEvent("htmx:beforeRequest", { bubbles: true, cancelable: true, detail: { elt: part, requestConfig: {} } });
    return part.dispatchEvent(xhr);
  });
  assert.equal(asked, false);
  await v.close();
});

const PAGES = {
  seller: ["", "/products", "/products/new", "/stock", "/orders", "/orders?which=all"],
  operator: [
    "", "/orders", "/returns?status=all", "/payments", "/users", "/policies?path=/admin/v1/orders&roles=user", "/roles", "/allow-list",
    "/keys", "/audit", "/stock-alerts", "/system", "/system/protection", "/system/breakers", "/system/flows", "/system/dead-letters",
    "/system/traces", "/system/checks",
  ],
};

for (const [who, email, file] of [["seller", SELLER, "seller-password"], ["operator", OPERATOR, "admin-password"]]) {
  for (const options of [
    { screen: "phone", lang: "zh", dark: true },
    { screen: "phone", lang: "en" },
    { screen: "desk", lang: "zh" },
    { screen: "desk", lang: "en", dark: true },
    { screen: "phone", lang: "en", scripts: false },
  ]) {
    test(`every page of the ${who}'s console: ${JSON.stringify(options)}`, async () => {
      const v = await visit(browser, shop, options);
      await signIn(v, email, shop.password(file), `/${who}`);
      for (const path of PAGES[who]) {
        const answer = await v.to(`/${who}${path}`);
        assert.equal(answer.status(), 200, path);
        if (path === "" && v.scripts && who === "operator") await seen(v.page.locator("#block-live[hx-trigger^=every]"));
        assert.ok((await v.page.locator("h1").textContent()).trim().length > 0, path);
        await v.shot(`${who}${path.replace(/\?.*/, "").replaceAll("/", "-") || "-home"}`);
      }
      // One thing in full: a product, its stock; an order, its account.
      await v.to(who === "seller" ? "/seller/products" : "/operator/orders");
      const first = v.page.locator(".table tbody a").first();
      if (await first.count()) {
        await first.click();
        await seen(v.page.locator(".crumbs"));
        await v.shot(`${who}-one`);
      }
      if (who === "operator") {
        await v.to("/operator/users");
        await v.page.locator(".table tbody a").first().click();
        await seen(v.page.locator(".crumbs"));
        await v.shot("operator-user");
        // The books: asked for, and there when the last service has answered, with scripts and without.
        await v.to("/operator/system/checks");
        await v.page.locator("#block-books .button").click();
        await seen(v.page.locator("#block-books .note.good"));
        await v.shot("operator-checks-done");
      }
      await v.close();
    });
  }
}
