/** VitePress's own theme, with diagrams: they are drawn in the browser, in the colours of the page. */
import { useData, useRoute } from "vitepress";
import DefaultTheme from "vitepress/theme";
import { nextTick, onMounted, watch } from "vue";
import "./diagrams.css";

const sources = new WeakMap<Element, string>();

async function draw(dark: boolean): Promise<void> {
  const diagrams = [...document.querySelectorAll("pre.mermaid")];
  if (diagrams.length === 0) return;
  const { default: mermaid } = await import("mermaid");
  mermaid.initialize({ startOnLoad: false, theme: dark ? "dark" : "neutral" });
  for (const diagram of diagrams) {
    const source = sources.get(diagram) ?? diagram.textContent ?? "";
    sources.set(diagram, source);
    diagram.removeAttribute("data-processed");
    diagram.textContent = source;
  }
  await mermaid.run({ nodes: diagrams as HTMLElement[] });
}

export default {
  extends: DefaultTheme,
  setup() {
    const { isDark } = useData();
    const route = useRoute();
    onMounted(() => draw(isDark.value));
    watch([() => route.path, isDark], () => nextTick(() => draw(isDark.value)));
  },
};
