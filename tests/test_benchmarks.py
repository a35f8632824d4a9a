from benchmarks import corpora, report


def test_the_page_has_the_figures_of_the_results():
    assert (report.DOCS / "benchmarks.md").read_text() == report.page(report.read_results())


def test_the_plot_is_a_picture_with_every_form_and_rate(tmp_path):
    results = report.read_results()
    report.plot(results, tmp_path / "plot.svg")
    svg = (tmp_path / "plot.svg").read_text()
    assert svg.startswith("<?xml") and svg.count("<path") > 50


def test_the_tables_of_scale_are_those_of_the_results(capsys):
    corpora.main()
    tables = capsys.readouterr().out.split("\n\n")[1:]
    page = (report.DOCS / "scale.md").read_text()
    assert len(tables) == 4
    for table in tables:
        assert table.strip() in page


def test_the_table_of_runners_is_that_of_the_results():
    assert report.runners(report.read_results()["runners"]) in (report.DOCS / "runners.md").read_text()


def test_an_example_takes_the_papers_number_of_operations():
    # Two for each multiply-and-add.
    assert 1.72e9 < corpora.example_flop() < 1.74e9
