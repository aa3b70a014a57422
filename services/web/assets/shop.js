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
