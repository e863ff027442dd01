// The notebook's side of ImageCleaner in cleaning.py.

const KEYS = "Keys: arrows move, K keep, R or a digit relabel, D drop, U undo.";

function node(parent, tag, name, text = "") {
  const made = parent.appendChild(document.createElement(tag));
  made.className = name;
  made.textContent = text;
  return made;
}

export default {
  render({ model, el }) {
    const classes = model.get("class_names");
    const root = node(el, "div", "cleaner");
    root.dataset.lmSuppressShortcuts = "true"; // D twice would delete the cell of JupyterLab
    const status = node(root, "p", "cleaner-status");
    status.setAttribute("role", "status");
    node(root, "p", "cleaner-keys", KEYS);
    const grid = node(root, "ol", "cleaner-grid");
    let current = 0;

    const decide = (place, action, label = "") => {
      const decisions = model.get("decisions").map((one) => [...one]);
      const same = decisions[place][0] === action && decisions[place][1] === label;
      decisions[place] = same ? ["", ""] : [action, label]; // a second click takes it back
      model.set("decisions", decisions);
      model.save_changes();
    };
    const relabel = (place, label) => {
      if (label === model.get("items")[place].label) decide(place, "keep");
      else decide(place, "relabel", label);
    };

    const cards = model.get("items").map((item, place) => {
      const card = node(grid, "li", "cleaner-card");
      const images = node(card, "div", "cleaner-images");
      item.images.forEach((image, number) => {
        const shown = node(images, "img", "");
        shown.src = `data:image/png;base64,${image}`;
        shown.alt = number ? "the image that it is like" : "";
      });
      const title = node(card, "div", "cleaner-title", `label ${item.label}`);
      if (item.suggestion) node(title, "span", "", ` → ${item.suggestion}?`);
      node(card, "div", "cleaner-reason", item.reason);
      node(card, "div", "cleaner-file", item.name);
      card.setAttribute("role", "group");
      card.setAttribute("aria-label", `${item.name}, ${title.textContent}, ${item.reason}`);
      const buttons = node(card, "div", "cleaner-buttons");
      const button = (text, action, label) => {
        const made = node(buttons, "button", `cleaner-${action}`, text);
        made.onclick = () => decide(place, action, label);
        return made;
      };
      const keep = button("Keep", "keep", "");
      const drop = button("Drop", "drop", "");
      const suggested = item.suggestion && button(`→ ${item.suggestion}`, "relabel", item.suggestion);
      const select = node(buttons, "select", "");
      select.setAttribute("aria-label", "relabel as");
      select.append(new Option("relabel as …", "-1"), ...classes.map((name, number) => new Option(`→ ${name}`, number)));
      select.options[classes.indexOf(item.label) + 1].hidden = true;
      select.onchange = () => {
        if (select.value === "-1") decide(place, "");
        else relabel(place, classes[select.value]);
      };
      card.onfocus = () => move(place, false);
      card.onclick = (event) => move(place, event.target === card);
      return { card, keep, drop, suggested, select };
    });

    const move = (place, focus = true) => {
      current = Math.max(0, Math.min(cards.length - 1, place));
      cards.forEach(({ card }, number) => {
        const tab = number === current ? 0 : -1; // Tab goes on to the next cell, not through a hundred cards
        card.tabIndex = tab;
        card.querySelectorAll("button, select").forEach((one) => (one.tabIndex = tab));
      });
      if (focus && cards.length) cards[current].card.focus();
    };
    const columns = () => cards.filter(({ card }) => card.offsetTop === cards[0].card.offsetTop).length;

    root.onkeydown = (event) => {
      if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey || !cards.length) return;
      const item = model.get("items")[current];
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
      const key = event.key.length > 1 ? event.key : event.key.toLowerCase();
      const decisions = {
        k: () => decide(current, "keep"),
        d: () => decide(current, "drop"),
        u: () => decide(current, ""),
        r: () => (item.suggestion ? relabel(current, item.suggestion) : cards[current].select.focus()),
      };
      if (key in steps) move(current + steps[key]);
      else if (key in decisions) {
        decisions[key]();
        if (key !== "u" && !(key === "r" && !item.suggestion)) move(current + 1);
      } else if (/^\d$/.test(key) && classes.includes(key)) {
        relabel(current, key);
        move(current + 1);
      } else return;
      event.preventDefault();
      event.stopPropagation();
    };

    const show = () => {
      status.textContent = model.get("status");
      model.get("decisions").forEach(([action, label], place) => {
        const { card, keep, drop, suggested, select } = cards[place];
        card.dataset.action = action;
        keep.setAttribute("aria-pressed", action === "keep");
        drop.setAttribute("aria-pressed", action === "drop");
        const same = action === "relabel" && label === model.get("items")[place].suggestion;
        if (suggested) suggested.setAttribute("aria-pressed", same);
        select.value = action === "relabel" ? String(classes.indexOf(label)) : "-1";
        select.dataset.chosen = action === "relabel" && !same;
      });
    };
    model.on("change:decisions change:status", show);
    move(0, false);
    show();
    return () => model.off("change:decisions change:status", show);
  },
};
