"""The frame of the report's page: its style (light, dark, narrow, printed) and the skeleton around it."""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--soft:#59636e;--line:#d0d7de;--pale:#f4f6f8;
--first:#0072b2;--second:#d55e00;--third:#009e73;--fourth:#cc79a7}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e9ec;--soft:#9aa4ae;--line:#343b43;--pale:#1e2329;
--first:#56b4e9;--second:#f0894a;--third:#2cc79a;--fourth:#e0a0c4}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:62rem;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{margin:0;font-size:1.9rem;line-height:1.2;overflow-wrap:break-word}
h2{margin:2.5rem 0 .3rem;font-size:1.25rem}
p{margin:.2rem 0 .8rem}.soft{color:var(--soft);overflow-wrap:break-word}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem;margin:1.2rem 0}
.tiles div{padding:.6rem .8rem;background:var(--pale);border-radius:.5rem}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.2rem;font-weight:600}
.tiles div:first-child dd{font-size:1.6rem;color:var(--first);line-height:1.2}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr));gap:1rem}
figure{margin:0}figcaption{font-weight:600}svg{width:100%;height:auto;display:block}
img{display:block;max-width:100%;height:auto;background:#fff;border:1px solid var(--line);border-radius:.4rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}
thead th,tbody th{color:var(--soft);font-weight:500}tfoot td{font-weight:600}
thead th:nth-child(n+4),thead~* td:nth-child(n+4){text-align:right}
details{margin:2.5rem 0 0}summary{font-size:1.25rem;font-weight:600;cursor:pointer}
pre{margin:0 0 1rem;padding:.6rem .8rem;overflow-x:auto;background:var(--pale);border-radius:.5rem}
@media print{body{max-width:none;padding:0}figure,img,tr,pre,.tiles div{break-inside:avoid}
h2{break-after:avoid}.wide{overflow:visible}pre{white-space:pre-wrap}
details::details-content{content-visibility:visible;block-size:auto;opacity:1}}
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none';img-src data:;style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head>
<body>
{body}
</body></html>
"""
