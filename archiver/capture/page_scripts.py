"""What is asked of a page, in its own language; evaluated where its scripts cannot answer for it."""

from __future__ import annotations

SCROLL = """(async () => {
  const limit = %(height)d, budget = %(budget)d, begun = performance.now();
  const frame = () => new Promise(done => {
    requestAnimationFrame(() => setTimeout(done, 0)); setTimeout(done, 100);
  });
  const root = document.scrollingElement || document.documentElement;
  let steps = 0, y = 0;
  while (y + innerHeight < Math.min(root.scrollHeight, limit) && performance.now() - begun < budget) {
    y = Math.min(y + Math.floor(innerHeight * 0.9), root.scrollHeight - innerHeight);
    scrollTo({top: y, behavior: "instant"});
    steps += 1;
    await frame();
  }
  const end = Math.min(root.scrollHeight, limit);
  return {steps, reached: Math.floor(y + innerHeight), stopped_early: y + innerHeight < end};
})()"""

PAGE_FACTS = """(() => {
  const dates = [];
  const take = (kind, selector, attribute) => {
    for (const element of [...document.querySelectorAll(selector)].slice(0, 5)) {
      const value = element.getAttribute(attribute);
      if (value) dates.push({kind, value: value.slice(0, 200), source: selector.slice(0, 200)});
    }
  };
  take("published", 'meta[property="article:published_time"]', "content");
  take("modified", 'meta[property="article:modified_time"]', "content");
  take("shown", "time[datetime]", "datetime");
  const canonical = document.querySelector('link[rel="canonical"]');
  return {
    title: document.title.slice(0, 4000),
    language: (document.documentElement.lang || "").slice(0, 100),
    canonical: canonical ? canonical.href.slice(0, 8192) : "",
    dates,
  };
})()"""

TO_TOP = """(async () => {
  scrollTo({top: 0, behavior: "instant"});
  await new Promise(done => {
    requestAnimationFrame(() => requestAnimationFrame(done)); setTimeout(done, 200);
  });
})()"""

TWO_FRAMES = """new Promise(done => {
  requestAnimationFrame(() => requestAnimationFrame(done)); setTimeout(done, 300);
})"""

LAST_FRAME = """Math.ceil(Math.max(0, ...[...document.querySelectorAll("iframe")]
  .filter(one => one.src.startsWith("http") && one.clientHeight > 20 && one.clientWidth > 20)
  .map(one => one.getBoundingClientRect().bottom + scrollY)))"""
"""Where the last frame that can be seen ends, CSS pixels from the top of the page."""
