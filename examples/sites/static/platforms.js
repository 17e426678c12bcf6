// What the pages of the example platforms do when they are clicked or scrolled.
const item = ({ name, text }) => {
  const entry = document.createElement("div");
  entry.className = "reply CommentItemContainer";
  const bold = document.createElement("b");
  bold.textContent = name;
  entry.append(bold, " ", text);
  return entry;
};
const fill = async (list, address) => {
  const answer = await (await fetch(address)).json();
  list.append(...answer.items.map(item));
  return answer.next;
};
addEventListener("click", async (event) => {
  const control = event.target.closest("[data-unfold], [data-fetch], [data-shut], [data-harm], [data-go], [data-open], [data-push]");
  if (!control) return;
  const { unfold, fetch: address, into, shut, harm, go, open: popup, push } = control.dataset;
  if (harm) fetch(`/api/harm?what=${harm}`, { method: "POST" });
  if (unfold) { document.getElementById(unfold).hidden = false; control.remove(); }
  if (shut) document.getElementById(shut).remove();
  if (go) location.href = go;
  if (popup) window.open(popup);
  if (push) history.pushState({}, "", push);
  if (address && !control.dataset.busy) {
    if (control.localName === "a") event.preventDefault();
    control.dataset.busy = "1";
    const next = await fill(document.getElementById(into), address);
    delete control.dataset.busy;
    if (next) control.dataset.fetch = next; else control.remove();
  }
});
for (const form of document.forms) form.addEventListener("submit", () => fetch("/api/harm?what=submit", { method: "POST" }));
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    fill(target, target.dataset.lazy);
  }
});
for (const list of document.querySelectorAll("[data-lazy]")) near.observe(list);
