"""A page with a chart of one's own: this class and the function of its name in own_chart.js, which lies beside this file."""

from dash import Input, Output, dcc, html

from deepseek.dashboard.components import OwnComponent

NAME = "Lengths of runs"


class RunBars(OwnComponent):
    module = "own_chart.js"


def layout():
    return html.Div(
        [
            RunBars(id="bars", runs=[], values=[], chosen=None, style={"height": "240px"}),
            html.P("Click a bar.", id="bars-said"),
            dcc.Interval(id="bars-again", interval=2000),
        ]
    )


def callbacks(dash, queries):
    @dash.callback(Output("bars", "runs"), Output("bars", "values"), Input("bars-again", "n_intervals"))
    def lengths(_):
        stored = [view.stored for view in queries.runs() if view.stored.timed]
        return [run.name for run in stored], [run.last_time_s - run.first_time_s for run in stored]

    @dash.callback(Output("bars-said", "children"), Input("bars", "chosen"))
    def said(run):
        return f"You clicked {run}." if run else "Click a bar."
