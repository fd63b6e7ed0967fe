/** A bar for each run. `runs` and `values` come from Python; `chosen`, the clicked run, goes back there. */
export function RunBars(place, props, setProps) {
  const canvas = document.createElement("canvas");
  const resized = new ResizeObserver(() => draw());
  const turned = new MutationObserver(() => draw()); // dark and light: a canvas keeps the colours that it was drawn with
  place.replaceChildren(canvas);
  resized.observe(place);
  turned.observe(document.documentElement, { attributeFilter: ["data-theme"] });

  function draw() {
    const { width, height } = place.getBoundingClientRect();
    const scale = devicePixelRatio;
    Object.assign(canvas, { width: width * scale, height: height * scale });
    Object.assign(canvas.style, { display: "block", width: `${width}px`, height: `${height}px` });
    const style = getComputedStyle(place); // the theme's colours
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const most = Math.max(...props.values, 0);
    const step = width / props.runs.length;
    props.runs.forEach((run, i) => {
      const tall = most ? (props.values[i] / most) * (height - 20) : 0;
      context.fillStyle = style.getPropertyValue(run === props.chosen ? "--accent" : "--c1");
      context.fillRect(i * step + 2, height - 20 - tall, step - 4, tall);
      context.fillStyle = style.getPropertyValue("--ink-2");
      context.fillText(run, i * step + 2, height - 6, step - 4);
    });
  }

  canvas.onclick = ({ offsetX }) => {
    setProps({ chosen: props.runs[Math.floor((offsetX / canvas.clientWidth) * props.runs.length)] });
  };

  return {
    update(changed) {
      props = changed;
      draw();
    },
    close() {
      resized.disconnect();
      turned.disconnect();
    },
  };
}
