// Acts on a page as a reader would: closes what covers it, expands, loads more, plays, opens scroll areas.
// Runs in an isolated world: the page can see what it does, but can neither answer for it nor call it.
(rules) => {
  if (globalThis.reader) return true;
  const MAX_SEEN = 20000, MAX_TEXT = 80, MAX_FOUND = 500, AREA_MIN_PX = 150;
  const norm = (text) => (text || "").toLowerCase().replaceAll("ё", "е").replace(/[^\p{L}\p{M} ]+/gu, " ")
    .replace(/\s+/g, " ").trim();
  const pattern = (words) => words && words.length
    ? new RegExp(`^(?:${words.map((w) => w.split("*").map((p) => norm(p))
        .map((p, i, all) => p + (i < all.length - 1 ? "(?: .*)?" : "")).join(" ?")).join("|")})$`, "u")
    : null;
  const never = pattern(rules.never), closing = pattern(rules.close_words);
  const [notices, calls] = [rules.notice_words, rules.overlay_words].map((words) => words.map(norm));
  const set = rules.rules.map((rule) => ({ ...rule, pattern: pattern(rule.words), selector: rule.selectors.join(",") }));
  const done = new WeakMap(), hidden = new WeakSet(), areas = [];
  let active = false, refused = 0, before = null;

  const says = (element) => {
    const label = element.getAttribute?.("aria-label") || element.title || "";
    const text = element.textContent.length > 400 ? "" : element.innerText ?? element.textContent;
    return [norm(text), norm(label)];
  };
  const shown = (element) => element.checkVisibility({ opacityProperty: false, visibilityProperty: true })
    && element.getClientRects().length > 0;
  // A control that would hand in a form, or lead to another document, is no control for us.
  const submits = (element) => {
    const control = element.closest("button, input");
    return !!control && ((control.form && /^(submit|image)$/.test(control.type)) || control.type === "file");
  };
  const leads = (element) => {
    const link = element.closest("a[href], area[href]");
    if (!link) return false;
    const href = link.getAttribute("href").trim();
    return href !== "" && !href.startsWith("#") && !/^javascript:/i.test(href);
  };
  const forbidden = (element) => {
    const words = says(element).filter(Boolean);
    return words.some((one) => never.test(one) && !closing.test(one));
  };
  const clickable = (element) => element.isConnected && shown(element) && !element.disabled
    && element.getAttribute("aria-disabled") !== "true" && !submits(element) && !forbidden(element);

  // Whatever a click sets off: no form is handed in, no link is followed, nothing forbidden gets the click.
  addEventListener("submit", (event) => {
    if (!active) return;
    refused += 1;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  addEventListener("click", (event) => {
    if (!active || !(event.target instanceof Element)) return;
    const control = event.target.closest("button, a, input, [role=button]") || event.target;
    if (submits(control) || forbidden(control)) {
      refused += 1;
      event.preventDefault();
      event.stopImmediatePropagation();
    } else if (leads(event.target)) {
      event.preventDefault();
    }
  }, true);

  const measure = () => ({
    elements: document.getElementsByTagName("*").length,
    height: (document.scrollingElement || document.documentElement).scrollHeight,
    chars: document.body ? document.body.textContent.length : 0,
  });
  const frame = () => new Promise((end) => { requestAnimationFrame(() => setTimeout(end, 0)); setTimeout(end, 60); });
  const click = async (element) => {
    const at = location.href;
    // No bounding into view: a page that listens to scrolling is scrolled by its own step.
    active = true;
    try { element.click(); } catch { /* a page may throw in its own handler */ }
    await frame();
    active = false;
    if (location.href !== at && location.href.split("#")[0] !== at.split("#")[0]) {
      const to = location.href;
      history.back();
      await frame(); await frame();
      return to;
    }
    return "";
  };

  const candidates = (kinds) => {
    const found = [];
    for (const rule of set) {
      if (!kinds.includes(rule.kind)) continue;
      for (const element of [...document.querySelectorAll(rule.selector)].slice(0, MAX_SEEN)) {
        if (rule.pattern) {
          // Words first: they cost no layout, and nearly every element ends here.
          const text = element.textContent.length > 200 ? "" : element.textContent;
          const label = element.getAttribute("aria-label") || "";
          if (![norm(text), norm(label)].some((one) => one && rule.pattern.test(one))) continue;
        }
        if (element.getAttribute("aria-expanded") === "true" || element.closest("details[open] > summary")) continue;
        if (element.localName !== "summary" && leads(element) && !rule.own_links) continue;
        const past = done.get(element);
        if (past && (rule.kind !== "more" || past.times >= rule.most || measure().chars <= past.chars)) continue;
        if (found.length < MAX_FOUND && clickable(element) && !found.some((one) => one.element === element))
          found.push({ rule, element });
      }
    }
    // Of nested ones the inner: a click on it reaches the outer.
    return found.filter((one) => !found.some((other) => other !== one && one.element.contains(other.element)));
  };

  const covers = (element) => {
    const style = getComputedStyle(element);
    if (!["fixed", "sticky", "absolute"].includes(style.position) && element.localName !== "dialog") return 0;
    const box = element.getBoundingClientRect();
    const width = Math.min(box.right, innerWidth) - Math.max(box.left, 0);
    const height = Math.min(box.bottom, innerHeight) - Math.max(box.top, 0);
    return width > 0 && height > 0 ? (width * height) / (innerWidth * innerHeight) : 0;
  };
  const overlays = () => {
    const found = [];
    const rule = set.find((one) => one.kind === "overlay");
    // What floats over the middle or the edges, and what is named like an overlay.
    const points = [[0.5, 0.5], [0.5, 0.95], [0.5, 0.03], [0.08, 0.92], [0.92, 0.92]];
    const seen = new Set(document.querySelectorAll(rule.selector));
    for (const [x, y] of points)
      for (let one = document.elementFromPoint(innerWidth * x, innerHeight * y); one; one = one.parentElement) seen.add(one);
    for (const element of [...seen].slice(0, 500)) {
      if (hidden.has(element) || [document.body, document.documentElement, null].includes(element)) continue;
      if (!element.isConnected || !shown(element)) continue;
      const position = getComputedStyle(element).position;
      const modal = element.matches("dialog[open], [role=dialog], [role=alertdialog], [aria-modal=true]");
      if (position !== "fixed" && !modal && !(position === "sticky" && element.matches(rule.selector))) continue;
      const share = covers(element);
      const text = norm(element.innerText || "");
      const says = (words) => words.some((word) => ` ${text} `.includes(` ${word}`));
      // A site's own bar has a login button too, and covers nothing.
      const bar = element.closest("header, nav, [role=banner], [role=navigation]")
        || (element.getBoundingClientRect().top <= 0 && element.getBoundingClientRect().height < 120);
      const named = says(notices) || ((modal || share > 0.08) && !bar && says(calls));
      const pale = !text && share > 0.9;  // the veil behind a dialog
      const whole = text.length > 4000;   // an application's own frame
      if (whole || (!named && !pale && !(modal && share > 0.25))) continue;
      if (share > 0.02) found.push(element);
    }
    return found.filter((one) => !found.some((other) => other !== one && other.contains(one)));
  };
  const closer = (overlay) => {
    const inside = [...overlay.querySelectorAll("button, [role=button], a, [aria-label], [class*=close i], input[type=button]")];
    const named = inside.filter((one) => says(one).some((text) => text && closing.test(text)));
    const marked = inside.filter((one) => !says(one)[0] && /close|dismiss/i.test(`${one.className} ${one.id}`));
    return [...named, ...marked].find((one) => clickable(one) && !leads(one));
  };
  const name = (element) => {
    const text = (element.innerText || element.getAttribute("aria-label") || "").replace(/\s+/g, " ").trim();
    return (text || `<${element.localName}>`).slice(0, MAX_TEXT);
  };

  const scrollAreas = () => [...document.querySelectorAll("div, main, section, article, ul, ol, aside, pre, textarea")]
    .slice(0, MAX_SEEN).filter((one) => one.scrollHeight > one.clientHeight + 40 && one.clientHeight > AREA_MIN_PX)
    .filter((one) => /auto|scroll/.test(getComputedStyle(one).overflowY) && one.localName !== "textarea" && shown(one));
  const media = () => [...document.querySelectorAll("video, audio")].filter((one) => !done.has(one)
    && (one.currentSrc || one.querySelector("source") || one.preload === "none"));

  globalThis.reader = {
    survey: () => ({
      overlays: overlays().length, expand: candidates(["expand", "more"]).length,
      media: media().length, areas: scrollAreas().length,
    }),

    // Closes overlays; one that stays, or that nothing closes, is hidden by style.
    dismiss: async () => {
      const log = [];
      for (const element of overlays().slice(0, 20)) {
        if (!element.isConnected || !shown(element)) continue;  // the veil went with its dialog
        const what = name(element), button = closer(element);
        const by = button ? name(button) : "";
        const moved = button ? await click(button) : "";
        const gone = !element.isConnected || !shown(element);
        if (!gone) {
          hidden.add(element);
          element.style.setProperty("display", "none", "important");
        }
        log.push({ how: gone ? "closed" : "hidden", what, by, moved });
      }
      // The veil may have forbidden scrolling.
      if (log.length)
        for (const one of [document.documentElement, document.body])
          if (one && /hidden|clip/.test(getComputedStyle(one).overflowY)) {
            one.style.setProperty("overflow", "auto", "important");
            if (getComputedStyle(one).position === "fixed") one.style.setProperty("position", "static", "important");
          }
      return log;
    },

    // One round of clicks, in the order of the document; the caller waits for what they bring.
    expand: async (most) => {
      const log = new Map(), moved = [];
      before = measure();
      let clicks = 0;
      for (const { rule, element } of candidates(["expand", "more"])) {
        if (clicks >= most) break;
        if (!clickable(element)) continue;
        const entry = log.get(rule.name) || { rule: rule.name, count: 0, what: name(element) };
        const past = done.get(element);
        done.set(element, { times: (past ? past.times : 0) + 1, chars: measure().chars });
        const to = await click(element);
        if (to) moved.push(to.slice(0, 500));
        clicks += 1; entry.count += 1;
        log.set(rule.name, entry);
        if (moved.length >= 3) break;
      }
      return { log: [...log.values()], clicks, moved };
    },

    // How the page has grown since the last round began.
    grown: () => {
      const now = measure();
      return { elements: now.elements - before.elements, height: now.height - before.height, chars: now.chars - before.chars };
    },

    // Plays what can be played, muted, from the beginning, for at most *budget* ms.
    play: async (budget) => {
      const log = [];
      for (const one of media().slice(0, 5)) {
        done.set(one, { times: 1, chars: 0 });
        const entry = { kind: one.localName, source: "", seconds: 0, ended: false, error: "" };
        const was = one.muted;
        one.muted = true;
        try {
          await Promise.race([one.play(), new Promise((_, no) => setTimeout(() => no(new Error("no data came")), budget))]);
          if (Number.isFinite(one.duration)) one.playbackRate = Math.min(16, Math.max(1, one.duration / 2));
          await Promise.race([
            new Promise((end) => { for (const kind of ["ended", "error", "pause"]) one.addEventListener(kind, end, { once: true }); }),
            new Promise((end) => setTimeout(end, budget)),
          ]);
        } catch (error) { entry.error = String(error && error.message || error).slice(0, 200); }
        entry.source = (one.currentSrc || "").slice(0, 500);
        entry.seconds = Math.round(one.currentTime * 10);
        entry.ended = one.ended;
        one.pause();
        one.playbackRate = 1; one.muted = was;
        try { if (one.duration && one.currentTime) one.currentTime = Math.min(1, one.duration / 2); } catch { /* a live stream */ }
        log.push(entry);
      }
      return log;
    },

    // Scrolls each inner area to its end, so that what it loads is loaded.
    scrollAreas: async () => {
      const log = [];
      for (const one of scrollAreas().slice(0, 20)) {
        let steps = 0;
        while (one.scrollTop + one.clientHeight < one.scrollHeight - 1 && steps < 100) {
          one.scrollTop += Math.floor(one.clientHeight * 0.9);
          steps += 1;
          await frame();
        }
        one.scrollTop = 0;
        log.push({ area: `<${one.localName}>`, steps, shown_px: one.clientHeight, whole_px: one.scrollHeight });
      }
      return log;
    },
    // Lays inner areas out in full height for the picture; undone by ``closeAreas``.
    openAreas: () => {
      for (const area of scrollAreas().slice(0, 20))
        for (let one = area; one && one !== document.documentElement; one = one.parentElement) {
          const style = getComputedStyle(one);
          const cuts = one === area || /hidden|auto|scroll|clip/.test(style.overflowY) || one.clientHeight + 1 < one.scrollHeight;
          if (!cuts && style.position !== "fixed") continue;
          areas.push([one, one.getAttribute("style")]);
          const set = (key, value) => one.style.setProperty(key, value, "important");
          set("height", "auto"); set("max-height", "none"); set("overflow-y", "visible");
          if (style.position === "fixed") set("position", "absolute");
        }
      return areas.length;
    },
    closeAreas: () => {
      for (const [one, style] of areas.splice(0).reverse())
        if (style === null) one.removeAttribute("style"); else one.setAttribute("style", style);
      return true;
    },
    guard: (on) => { active = on; return refused; },
    refused: () => refused,
  };
  return true;
}
