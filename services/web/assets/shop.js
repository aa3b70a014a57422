// Comfort only: everything here works without it.
// A form that is on its way says so and is not sent twice; the server makes one order of two clicks anyway.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-busy]") || event.defaultPrevented) return;
  if (form.getAttribute("aria-busy") === "true") {
    event.preventDefault();
    return;
  }
  form.setAttribute("aria-busy", "true");
});
// Coming back by the history must not show a form that waits for ever.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[aria-busy]")) form.removeAttribute("aria-busy");
});
// On a wide screen the filters are open; on a phone they wait behind their heading.
const openFilters = () => {
  const filters = document.querySelector("details.filters");
  if (filters && matchMedia("(min-width: 60rem)").matches) filters.open = true;
};
openFilters();

// What is changed without a new page may fail without a new page: then a note says so, until something works again.
const clearNote = () => document.getElementById("unsaved")?.remove();
const putNote = (words) => {
  clearNote();
  const note = document.createElement("p");
  note.id = "unsaved";
  note.className = "note bad";
  note.setAttribute("role", "alert");
  note.textContent = words || document.body.dataset.unsaved;
  document.getElementById("main")?.prepend(note);
};
// The link that waits for a quantity still to be saved: what it says.
let waiting = "";
const failed = (words) => {
  waiting = "";
  putNote(words);
};
document.addEventListener("htmx:sendError", () => failed());
// What renews itself stays as it is while somebody is in it: it would take the focus, and the table being read, with it.
const inUse = (part) =>
  part.matches('[hx-trigger*="every"]') && (part.contains(document.activeElement) || part.querySelector("details[open]"));
// Whether the part to be replaced has the focus. Asked twice: a button on its way is disabled and loses it.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig } = event.detail;
  if (inUse(elt)) event.preventDefault();
  requestConfig.held = elt.contains(document.activeElement);
});
// A page without the wanted part must not empty the place it was wanted for. One of ours is shown as a whole; of any other, as
// the small one of a mall that is full, what it says in this language.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = event;
  if (inUse(detail.requestConfig.elt)) detail.shouldSwap = false;
  detail.requestConfig.held ||= detail.target.contains(document.activeElement);
  const wanted = detail.requestConfig.elt.closest("[hx-select]")?.getAttribute("hx-select");
  if (!wanted || !detail.shouldSwap) return;
  const page = new DOMParser().parseFromString(detail.serverResponse, "text/html");
  if (!page.querySelector("#main.wrap")) {
    detail.shouldSwap = false;
    const chinese = document.documentElement.lang !== "en";
    const words = [...page.querySelectorAll("main p")].filter((one) => (one.lang === "zh") === chinese);
    failed(words.map((one) => one.textContent).join(" "));
  } else if (page.querySelector(wanted)) {
    clearNote();
  } else {
    detail.target = document.getElementById("main");
    detail.selectOverride = "#main";
    waiting = "";
  }
});
// Checkout clicked right after a quantity was typed: the quantity goes first, and the total is the one that was meant.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.to-checkout");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const typed = [...document.querySelectorAll("#main .line .quantity")].find((one) => one.value !== one.defaultValue);
  if (!typed) return;
  event.preventDefault();
  if (!typed.form.reportValidity()) return;
  waiting = link.textContent;
  typed.form.requestSubmit();
});
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  const link = document.querySelector("a.to-checkout");
  // Where something was refused or cannot be bought any more, that is looked at first.
  if (waiting && link?.textContent === waiting && !document.querySelector("#main > .note.bad")) location.assign(link.href);
  waiting = "";
  // A button that is gone takes the focus with it.
  if (detail.requestConfig?.held && document.activeElement === document.body) document.getElementById("main")?.focus({ preventScroll: true });
});
