// A bar that shows how far the reader has come.
const bar = document.getElementById("progress");
function show() {
  const room = document.documentElement.scrollHeight - window.innerHeight;
  bar.style.width = room > 0 ? `${Math.round((window.scrollY / room) * 100)}%` : "0";
}
window.addEventListener("scroll", show, { passive: true });
show();
