"""The report's style sheet: dark on light, one column on a phone, prints well."""

CSS = """
:root { --ink: #1f2933; --muted: #55616f; --line: #dfe4ea; --wash: #f6f8fa; --accent: #2b6299;
  --good: #1b6b3a; --good-wash: #e6f4ea; --bad: #9b1c1c; --bad-wash: #fdeaea;
  --unsure: #8a5300; --unsure-wash: #fdf3e1; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 1.65rem; line-height: 1.25; margin: 0 0 4px; letter-spacing: -0.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 1.18rem; margin: 44px 0 14px; padding-bottom: 6px;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0; }
p { margin: 0 0 12px; max-width: 72ch; }
.sub, figcaption, .note { color: var(--muted); font-size: 0.9rem; }
.answer { margin-top: 22px; padding: 20px 22px; background: var(--wash);
  border: 1px solid var(--line); border-left: 4px solid var(--accent); border-radius: 6px; }
.answer.good { border-left-color: var(--good); } .answer.bad { border-left-color: var(--bad); }
.answer p { margin: 10px 0 0; font-size: 1.06rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(126px, 1fr)); gap: 12px;
  margin: 18px 0 0; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; }
.tile b { display: block; font-size: 1.3rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: 0.85rem; }
.badge { display: inline-block; padding: 2px 10px; border-radius: 999px; font-size: 0.82rem;
  font-weight: 600; white-space: nowrap; }
.badge.holds { color: var(--good); background: var(--good-wash); }
.badge.fails { color: var(--bad); background: var(--bad-wash); }
.badge.inconclusive { color: var(--unsure); background: var(--unsure-wash); }
.facts { display: grid; grid-template-columns: minmax(150px, 230px) 1fr; margin: 0;
  font-size: 0.95rem; }
.facts dt, .facts dd { padding: 6px 0; border-bottom: 1px solid var(--line); margin: 0; }
.facts dt { color: var(--muted); padding-right: 16px; }
.facts dd { overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px; }
figure { margin: 0; } figure svg { width: 100%; height: auto; display: block; }
figure h3 { margin-bottom: 6px; } figcaption { margin-top: 6px; }
.cert { border: 1px solid var(--line); border-radius: 6px; padding: 16px 18px; margin: 0 0 14px; }
.cert header { display: flex; flex-wrap: wrap; gap: 6px 12px; align-items: baseline; }
.cert .of { color: var(--muted); font-size: 0.88rem; }
.cert dl { display: grid; grid-template-columns: 176px 1fr; gap: 4px 14px; margin: 10px 0 0;
  font-size: 0.93rem; }
.cert dt { color: var(--muted); } .cert dd { margin: 0; overflow-wrap: anywhere; max-width: 76ch; }
table { border-collapse: collapse; font-size: 0.93rem; align-self: start; }
th, td { padding: 6px 14px 6px 0; text-align: left; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; } th { color: var(--muted); font-weight: 500; }
code { font: 0.88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 760px) {
  main { padding: 20px 16px 48px; }
  .plots { grid-template-columns: minmax(0, 1fr); }
  .facts, .cert dl { grid-template-columns: minmax(0, 1fr); }
  .facts dt { border-bottom: 0; padding-bottom: 0; } .facts dd { padding-top: 0; }
  .cert dt { margin-top: 6px; }
}
@media print { main { max-width: none; padding: 0; } .cert, figure { break-inside: avoid; } }
"""
