import time, sys
sys.path.insert(0, "/work/ledgerbar")
from tests.test_live_ledger import web, T0
from tests.conftest import *
def test_shots(web, browser):
    for run in ("slow_decode","run","ranked","bare"):
        t=time.time(); a=web.ask("/api/v1/ledger", run=run, from_=0, to=2e9); print(run, a.status, time.time()-t, a.json.get("sentence"), a.json.get("device"), a.json.get("covered_share"))
    out="/tmp/shots"; import os; os.makedirs(out, exist_ok=True)
    lo = web.ask("/api/v1/ledger", run="slow_decode", from_=0, to=2e9).json["window"]
    for theme in ("dark","light"):
      for (w,h,name) in ((1440,900,"desk"),(1000,800,"mid"),(390,844,"phone")):
        page=browser.new_page(viewport={"width":w,"height":h})
        page.on("pageerror", lambda e: print("ERR", e)); page.on("console", lambda m: print("CON", m.text) if m.type=="error" else None)
        base=f"http://127.0.0.1:{web.port}/?theme={theme}"
        page.goto(base+"&run=run&ledger=1"); page.wait_for_timeout(4000); page.screenshot(path=f"{out}/run-{theme}-{name}.png")
        page.goto(base+f"&run=run&from={T0+100}&to={T0+200}"); page.wait_for_timeout(4000); page.screenshot(path=f"{out}/win-{theme}-{name}.png")
        if name=="phone":
            page.locator(".grip").click(); page.wait_for_timeout(500); page.locator(".ledger").scroll_into_view_if_needed(); page.screenshot(path=f"{out}/winfull-{theme}-{name}.png")
        if theme=="dark":
            page.goto(base+f"&run=slow_decode&from={lo[0]+2}&to={lo[1]-1}&ledger=1"); page.wait_for_timeout(4000); page.screenshot(path=f"{out}/cpu-{theme}-{name}.png")
            page.goto(base+f"&run=ranked&ledger=1&from={T0+100}&to={T0+100.2}"); page.wait_for_timeout(4000); page.screenshot(path=f"{out}/ranked-{theme}-{name}.png")
        page.close()
