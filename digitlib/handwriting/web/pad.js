// The notebook's side of digitlib.pad.DrawingPad; drawing.js stands before it in the same module.

export default {
  render({ model, el }) {
    const root = el.appendChild(document.createElement("div"));
    let sent = null;
    const pad = buildPad(root, (strokes) => {
      sent = strokes;
      model.set("strokes", strokes);
      model.save_changes();
    });
    const show = () => {
      const form = model.get("form");
      pad.show(model.get("answers"), new Uint8Array(form.buffer, form.byteOffset, form.byteLength));
    };
    const takeStrokes = () => {
      if (model.get("strokes") !== sent) pad.setStrokes(model.get("strokes")); // else it is our own, come back
    };
    model.on("change:strokes", takeStrokes);
    model.on("change:answers change:form", show);
    takeStrokes();
    show();
    return () => {
      model.off("change:strokes", takeStrokes);
      model.off("change:answers change:form", show);
    };
  },
};
