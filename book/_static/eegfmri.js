/* What pages do in a browser: the theme follows the system, live figures draw themselves when they come near, in the colours of the
 * theme and at the width of the page, and what scrolls can be reached by the keyboard. Nothing here needs a network or a server. */

(() => {
  "use strict";
  const root = document.documentElement;
  const darkens = window.matchMedia("(prefers-color-scheme: dark)");

  // The theme decides at the end of the page; until then it would be shown without colours.
  const settle = () => {
    if (!root.dataset.mode) root.dataset.mode = "auto";
    if (!["light", "dark"].includes(root.dataset.theme)) root.dataset.theme = darkens.matches ? "dark" : "light";
  };
  settle();

  const dark = () => root.dataset.theme === "dark";

  // --- colours of live figures -------------------------------------------------------------------------------------

  const GROUND = [20, 24, 30];
  const INK = "#dfe4ea", GRID = "#39424d", BOX = "rgba(32,38,46,0.85)";
  const pen = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
  const known = new Map();

  /** Return red, green, blue and opacity of a colour as it is written anywhere in CSS, or null. */
  const parsed = (text) => {
    if (!/^(#[0-9a-f]{3,8}$|rgba?\(|hsla?\(|white$|black$|gr[ae]y$)/i.test(text)) return null;
    if (!known.has(text)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = text;
      pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      known.set(text, [r, g, b, a / 255]);
    }
    return known.get(text);
  };
  const luminance = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const written = ([r, g, b, a]) => (a < 1 ? `rgba(${r},${g},${b},${a})` : `rgb(${r},${g},${b})`);

  /** Return a colour that stands out from the dark ground, of the same hue. */
  const lifted = (colour, least) => {
    let [r, g, b, a] = colour;
    for (let step = 0; step < 20 && contrast([r, g, b], GROUND) < least; step++) {
      [r, g, b] = [r, g, b].map((v) => Math.round(v + (255 - v) * 0.12));
    }
    return written([r, g, b, a]);
  };

  const isText = (path) => path.some((key) => /font$/i.test(key));
  const isGrid = (key) => /^(gridcolor|zerolinecolor)$/.test(key);

  /** Return the colour that a place of a figure has in the dark. */
  const inTheDark = (text, path) => {
    const key = path[path.length - 1], colour = parsed(text);
    if (colour === null) return text;
    const [r, g, b, a] = colour, pale = luminance(colour) > 0.7, grey = Math.max(r, g, b) - Math.min(r, g, b) < 32;
    if (key === "paper_bgcolor" || key === "plot_bgcolor") return "rgba(0,0,0,0)";
    if (isGrid(key)) return GRID;
    if (/bgcolor$/.test(key)) return pale ? BOX : text;
    if (isText(path)) return grey && !pale ? INK : pale ? text : lifted(colour, 4.5);
    if (pale && grey) return /fillcolor$/.test(key) ? written([58, 66, 77, a]) : r === 255 ? written([...GROUND, a]) : GRID;
    if (/fillcolor$/.test(key) && a < 0.6) return lifted([r, g, b, a], 2.2);
    return grey && luminance(colour) < 0.03 && a === 1 ? INK : lifted(colour, 3);
  };

  /** A scale is kept as it is where it runs smoothly, for then its colours are values; steps are the colours of classes. */
  const isSmooth = (scale) => !scale.some((stop, i) => i && stop[0] === scale[i - 1][0]);

  /** Return a part of a figure in the colours of the dark theme. */
  const darkened = (part, path) => {
    if (typeof part === "string") return inTheDark(part, path);
    if (part === null || typeof part !== "object" || ArrayBuffer.isView(part)) return part;
    if (Array.isArray(part)) {
      if (/^colorscale$|^(sequential|diverging|sequentialminus)$/.test(path[path.length - 1] || "") && Array.isArray(part[0])) {
        return isSmooth(part) ? part : part.map(([at, colour]) => [at, inTheDark(colour, path)]);
      }
      return typeof part[0] === "number" ? part : part.map((each) => darkened(each, path));
    }
    if (part.bdata !== undefined) return part;
    const made = {};
    for (const [key, value] of Object.entries(part)) {
      made[key] = /^(text|hovertemplate|hovertext|customdata|name|source|ids|x|y|z|i|j|k)$/.test(key) ? value : darkened(value, [...path, key]);
    }
    return made;
  };

  // --- live figures at the width of the page -----------------------------------------------------------------------

  const NARROW = 560;

  /** Break a text at blanks into lines of about so many letters; its tags stay whole. */
  const wrapped = (text, letters) => {
    if (typeof text !== "string" || text.replace(/<[^>]*>/g, "").length <= letters) return text;
    const lines = [""];
    for (const word of text.split(/\s+(?![^<]*>)/)) {
      const length = (lines[lines.length - 1] + word).replace(/<[^>]*>/g, "").length;
      if (lines[lines.length - 1] && length > letters) lines.push(word);
      else lines[lines.length - 1] += (lines[lines.length - 1] ? " " : "") + word;
    }
    return lines.join("<br>");
  };

  const axesOf = (layout) => Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
  const spanOf = (axis) => (axis.domain ? axis.domain[1] - axis.domain[0] : 1);

  /** Panels side by side, or buttons and sliders, cannot be narrower than this. */
  const leastWidth = (layout) => {
    const spans = axesOf(layout).filter((key) => key[0] === "x").map((key) => spanOf(layout[key]));
    const narrowest = Math.min(1, ...spans);
    return narrowest >= 0.6 ? 0 : narrowest >= 0.35 ? 480 : 620;
  };

  /** Fit a layout to a width, in place: smaller letters, titles in several lines, the legend beneath. */
  const fitted = (layout, traces, width) => {
    if (width >= NARROW) return layout;
    layout.font = {...layout.font, size: 11};
    layout.title = layout.title && {...layout.title, font: {size: 13}, text: wrapped(layout.title.text, Math.floor(width / 7))};
    layout.margin = {...layout.template?.layout?.margin, ...layout.margin};
    layout.margin.l = Math.min(layout.margin.l ?? 48, 44);
    layout.margin.r = Math.min(layout.margin.r ?? 16, 30);
    for (const key of axesOf(layout)) {
      const axis = layout[key], along = key[0] === "x" ? width * 0.75 * spanOf(axis) : (layout.height - 110) * spanOf(axis);
      if (axis.title) {
        const title = typeof axis.title === "string" ? {text: axis.title} : axis.title;
        axis.title = {...title, text: wrapped(title.text, Math.max(10, Math.floor(along / 6.5)))};
      }
      if (key[0] === "y" && axis.ticktext) axis.ticktext = [...axis.ticktext].map((text) => wrapped(text, 18));
      else if (key[0] === "y" && axis.showticklabels !== false) {
        const name = key.replace("axis", "");
        const words = [...new Set(traces.filter((t) => (t.yaxis || "y") === name && Array.isArray(t.y)).flatMap((t) => t.y))];
        if (words.length && words.every((word) => typeof word === "string" && Number.isNaN(Number(word))) && words.some((word) => word.length > 18)) {
          Object.assign(axis, {tickvals: words, ticktext: words.map((word) => wrapped(word, 18))});
        }
      }
      if (key[0] === "x" && !axis.tickvals && !axis.nticks) axis.nticks = Math.max(3, Math.floor(along / 48));
    }
    for (const note of layout.annotations || []) {
      if (note.xref === "paper" || /domain$/.test(note.xref || "")) note.text = wrapped(note.text, Math.max(16, Math.floor(width / 7.5)));
      note.font = {...note.font, size: Math.min(note.font?.size ?? 11, 11)};
    }
    const named = layout.showlegend !== false && (layout.showlegend || traces.filter((t) => t.showlegend !== false).length > 1);
    if (named) {
      layout.legend = {
        ...layout.legend, orientation: "h", xref: "container", yref: "container", x: 0, xanchor: "left", y: 0, yanchor: "bottom",
        font: {...layout.legend?.font, size: 11},
      };
      const letters = traces.filter((t) => t.showlegend !== false).map((t) => wrapped(t.name || "", 34).length + 7);
      const rows = Math.ceil(letters.reduce((sum, n) => sum + n, 0) * 6.2 / width);
      layout.height += 17 * Math.min(rows, 8);
    }
    return layout;
  };

  // --- drawing -----------------------------------------------------------------------------------------------------

  const FIGURES = ".eegfmri-graph";
  const PAPER = 660;  // CSS pixels between the margins of a sheet

  let theme = null, closed = [];  // the theme while the page is printed, and what is opened for it
  const config = {responsive: false, displaylogo: false, displayModeBar: true, scrollZoom: false, modeBarButtonsToRemove: ["select2d", "lasso2d"]};
  let plotly = null;

  /** Load plotly once; a page that stands alone brings it along. */
  const loaded = () => {
    if (window.Plotly) return Promise.resolve();
    plotly ??= new Promise((done, failed) => {
      // Plotly reads back what it writes on a canvas, of which browsers complain unless they are told.
      const contextOf = HTMLCanvasElement.prototype.getContext;
      HTMLCanvasElement.prototype.getContext = function (kind, options) {
        return contextOf.call(this, kind, kind === "2d" ? {willReadFrequently: true, ...options} : options);
      };
      const script = document.createElement("script");
      Object.assign(script, {src: window.eegfmriPlotly, onload: done, onerror: failed});
      document.head.append(script);
    });
    return plotly;
  };

  const sourceOf = (place) => {
    const script = place.closest("figure").querySelector("script[type='application/json']");
    return JSON.parse(script.textContent);
  };

  /** Do again what the reader has chosen by a slider or a button. */
  const chosen = (place) => {
    const menus = [...(place.layout?.sliders || []).map((s) => [s.steps, s.active]), ...(place.layout?.updatemenus || []).map((m) => [m.buttons, m.active])];
    return menus.map(([choices, active]) => choices?.[active]).filter((choice) => choice?.args && choice.method !== "skip");
  };

  const draw = (place) => {
    const {data, layout} = sourceOf(place), frame = place.parentElement;
    const room = theme === null ? frame.clientWidth : PAPER;
    const width = Math.max(room, room < NARROW ? leastWidth(layout) : 0);
    place.style.minWidth = width > room ? `${width}px` : "";
    layout.template ??= {};
    layout.template.layout = {...layout.template.layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)"};
    fitted(layout, data, width);
    place.style.height = `${layout.height}px`;
    Object.assign(layout, {width, autosize: false, uirevision: "kept"});
    const figure = dark() ? darkened({data, layout}, []) : {data, layout};
    const menus = (layout.sliders || []).concat(layout.updatemenus || []);
    for (const menu of figure.layout.sliders || []) {
      if (dark()) Object.assign(menu, {bgcolor: "#8a96a3", bordercolor: "#8a96a3", activebgcolor: "#dfe4ea", tickcolor: INK, font: {...menu.font, color: INK}});
    }
    for (const menu of figure.layout.updatemenus || []) {
      if (dark()) Object.assign(menu, {bgcolor: "#27303a", bordercolor: "#4a5562", font: {...menu.font, color: INK}});
    }
    const again = place.dataset.drawn ? chosen(place) : [];
    if (menus.length && place.dataset.drawn) {
      (place.layout.sliders || []).forEach((s, i) => { figure.layout.sliders[i].active = s.active; });
      (place.layout.updatemenus || []).forEach((m, i) => { figure.layout.updatemenus[i].active = m.active; });
    }
    place.dataset.drawn = dark() ? "dark" : "light";
    place.dataset.width = String(room);
    window.Plotly.react(place, figure.data, figure.layout, config);
    for (const choice of again) window.Plotly[choice.method](place, ...(dark() ? darkened(choice.args, []) : choice.args));
    describe(place);
  };

  /** Give plotly's controls, which it draws without names, what a reader of screens needs. */
  const describe = (place) => {
    for (const button of place.querySelectorAll(".modebar-btn")) {
      const name = button.dataset.title || button.getAttribute("data-title");
      if (name) button.setAttribute("aria-label", name);
      if (button.tagName === "A") button.setAttribute("role", "button");
      button.setAttribute("tabindex", "0");
    }
  };

  /** Whether a figure is not drawn, or was drawn for another width or theme. */
  const stale = (place) => {
    const width = place.parentElement.clientWidth;
    return place.dataset.drawn !== root.dataset.theme || (width && Math.abs(Number(place.dataset.width) - width) > 1);
  };

  const drawAll = async () => {
    const places = [...document.querySelectorAll(FIGURES)];
    if (places.length) await loaded();
    for (const place of places) if (stale(place)) draw(place);
  };

  // Figures are drawn when they come near, and drawn again when they are near and stale.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting || !stale(entry.target)) continue;
      loaded().then(() => stale(entry.target) && draw(entry.target));
    }
  }, {rootMargin: "400px 0px"});

  const again = () => {
    for (const place of document.querySelectorAll(FIGURES)) {
      near.unobserve(place);
      near.observe(place);
    }
  };

  const begin = () => {
    sortable();
    const places = [...document.querySelectorAll(FIGURES)];
    again();
    let waiting = 0;
    new ResizeObserver(() => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { again(); reachable(); }, 120);
    }).observe(document.querySelector(".bd-article") || document.body);
    new MutationObserver(again).observe(root, {attributeFilter: ["data-theme"]});
    // Once all else is there, plotly is fetched, so that printing finds it.
    if (places.length) (window.requestIdleCallback || setTimeout)(() => loaded().catch(() => {}), {timeout: 4000});
    reachable();
  };

  // --- what scrolls can be reached by the keyboard -----------------------------------------------------------------

  const SCROLLING = ".pst-scrollable-table-container, .table-wrapper, .cell_output .output, .cell_output pre, div.highlight pre, "
    + "div.math, mjx-container[display='true'], .eegfmri-frame, .eegfmri-scroll, .bd-sidebar-primary, .bd-sidebar-secondary";

  const nameOf = (part) => {
    if (part.matches("div.math, mjx-container")) return "Equation, scrolls sideways";
    if (part.matches(".eegfmri-frame")) return "Figure, scrolls sideways";
    if (part.matches(".bd-sidebar-primary, .bd-sidebar-secondary")) return "Side bar";
    if (part.querySelector("table")) return "Table, scrolls sideways";
    return part.closest(".cell_input, .highlight-bash") ? "Code, scrolls sideways" : "Output, scrolls";
  };

  const reachable = () => {
    for (const part of document.querySelectorAll(SCROLLING)) {
      const scrolls = part.scrollWidth > part.clientWidth + 1 || (part.scrollHeight > part.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(part).overflowY));
      if (scrolls && !part.hasAttribute("tabindex")) {
        Object.assign(part, {tabIndex: 0});
        part.dataset.scrolls = "";
        if (!part.hasAttribute("aria-label")) {
          part.setAttribute("role", "group");
          part.setAttribute("aria-label", nameOf(part));
        }
      } else if (!scrolls && part.dataset.scrolls !== undefined) {
        for (const name of ["tabindex", "role", "aria-label", "data-scrolls"]) part.removeAttribute(name);
      }
    }
  };

  // --- on paper ----------------------------------------------------------------------------------------------------

  const toPaper = () => {
    if (theme !== null) return;
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    closed = [...document.querySelectorAll(".bd-article details:not([open]):not(.hide)")];
    closed.forEach((part) => { part.open = true; });
    if (window.Plotly) document.querySelectorAll(FIGURES).forEach((place) => {
      if (place.dataset.drawn !== "light") draw(place);
    });
  };
  const fromPaper = () => {
    if (theme === null) return;
    root.dataset.theme = theme;
    closed.forEach((part) => { part.open = false; });
    theme = null;
    again();
  };
  window.addEventListener("beforeprint", toPaper);
  window.addEventListener("afterprint", fromPaper);

  // --- tables that can be sorted -----------------------------------------------------------------------------------

  const ROWS = 5; // shorter tables are read at a glance

  /** Return the first number of a cell, NaN where it begins with none. */
  const numberOf = (cell) => {
    const found = cell.textContent.trim().replace(/\u2212/g, "-").replace(/(\d),(?=\d{3})/g, "$1").match(/^[+-]?\d*\.?\d+(e[+-]?\d+)?/i);
    return found ? Number(found[0]) : NaN;
  };

  /** Sort the rows of a table by one of its columns: falling, rising, as they were. */
  const sort = (table, column, button) => {
    const body = table.tBodies[0], head = button.closest("th");
    const next = {none: "descending", descending: "ascending", ascending: "none"}[head.getAttribute("aria-sort") || "none"];
    head.parentElement.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    const rows = [...body.rows];
    rows.forEach((row, i) => { if (row.dataset.place === undefined) row.dataset.place = i; });
    const sign = next === "descending" ? -1 : 1;
    rows.sort((a, b) => {
      const was = a.dataset.place - b.dataset.place;
      if (next === "none") return was;
      const [x, y] = [a, b].map((row) => row.cells[column]);
      const [m, n] = [numberOf(x), numberOf(y)];
      // Cells without a number stay below, whichever way the others go.
      if (Number.isNaN(m) !== Number.isNaN(n)) return Number.isNaN(m) ? 1 : -1;
      return (Number.isNaN(m) ? sign * x.textContent.localeCompare(y.textContent) : sign * (m - n)) || was;
    });
    if (next !== "none") head.setAttribute("aria-sort", next);
    rows.forEach((row) => body.append(row));
  };

  const sortable = () => document.querySelectorAll(".cell_output table.dataframe").forEach((table) => {
    const body = table.tBodies[0], head = table.tHead;
    if (!body || !head || head.rows.length !== 1 || body.rows.length < ROWS || table.dataset.sortable) return;
    if ([...body.rows].some((row) => row.cells.length !== head.rows[0].cells.length)) return; // merged cells
    table.dataset.sortable = "true";
    [...head.rows[0].cells].forEach((th, column) => {
      if (!th.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "eegfmri-sort";
      button.append(...th.childNodes);
      button.addEventListener("click", () => sort(table, column, button));
      th.append(button);
    });
  });

  // --- search ------------------------------------------------------------------------------------------------------

  // A page opened from a file may not read other files: the texts of the pages are in a script, which the search page loads.
  if (window.eegfmriTexts) {
    const fetched = window.fetch;
    window.fetch = (address, ...rest) => {
      const page = decodeURI(String(address)).split(/[?#]/)[0].replace(/^(\.\/)+/, "").replace(/\.html$/, "");
      const text = window.eegfmriTexts[page];
      return text === undefined ? fetched(address, ...rest) : Promise.resolve(new Response(text));
    };
  }

  window.eegfmri = {drawAll, again, reachable};
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
  window.addEventListener("load", () => {
    const typeset = window.MathJax?.startup?.promise;
    if (typeset) typeset.then(reachable);
    else reachable();
  });
})();
