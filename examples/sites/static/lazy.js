// Loads a picture when it comes near the window, as many sites do beside loading=lazy.
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    entry.target.src = entry.target.dataset.src;
    watcher.unobserve(entry.target);
  }
}, { rootMargin: "200px" });
for (const picture of document.querySelectorAll("img[data-src]")) watcher.observe(picture);
