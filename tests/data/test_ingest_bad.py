"""Every bad input has an error of its own, and leaves nothing behind."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kubeloop.errors import InputError

COLUMNS = {"x": "number", "y": "integer"}
GOOD = "x,y\n1,0\n2,1\n"


def refuse(world, match, columns=None, target="y", line=None, **more):
    data = world.data(columns or COLUMNS, **more)
    with pytest.raises(InputError, match=match) as caught:
        world.ingest(data, target)
    assert caught.value.fix
    assert caught.value.exit_code == 2
    if line is not None:
        assert caught.value.context["line"] == line
        assert f":{line}:" in caught.value.problem
    left = list(world.out.iterdir()) if world.out.exists() else []
    assert not left, "nothing half-written"
    return caught.value


def test_missing_file(world):
    refuse(world, r"the file t\.csv of source 's0' was expected in .*inputs, there is none")


def test_directory(world):
    (world.inputs / "t.csv").mkdir()
    refuse(world, r"t\.csv was expected to be a file, it is a directory")


def test_unknown_ending(world):
    world.file(GOOD, "t.xlsx")
    refuse(world, r"a file ending in \.csv, .* was expected, got t\.xlsx", paths=("t.xlsx",))


def test_empty_file(world):
    world.file("")
    refuse(world, "the file is empty")


def test_empty_header(world):
    world.file("\nx,y\n1,2\n")
    refuse(world, "a header was expected, got an empty line", line=1)


def test_header_only(world):
    world.file("x,y\n")
    refuse(world, "got the header only")


def test_duplicate_header(world):
    world.file("x,y,x\n1,0,2\n2,1,3\n")
    refuse(world, r"got 'x' twice \(columns 1 and 3\)", line=1)


def test_header_differing_in_case(world):
    world.file("x,y,X\n1,0,2\n2,1,3\n")
    refuse(world, "'x' and 'X', which differ in letter case only", line=1)


def test_not_utf8(world):
    world.file("x,y,n\n1,0,ok\n2,1,Zürich\n".encode("latin-1"))
    refuse(world, r"got byte 0xfc at byte 18", line=3)


def test_not_utf8_far_into_the_file(world):
    good = "1,0,ok\n" * 200_000
    world.file(b"x,y,n\n" + good.encode() + b"2,1,\xff\n")
    refuse(world, "got byte 0xff", line=200_002)


def test_character_across_blocks_is_fine(world):
    head = "n,y\n"
    filler = "a" * ((1 << 20) - len(head) - 1)
    world.file(f"{head}{filler}é,0\nb,1\n")
    assert world.ingest(world.data({"n": "text", "y": "integer"}))["rows"] == 2


def test_cut_off_in_a_character(world):
    world.file(GOOD.encode() + b"3,1\xc3")
    refuse(world, "got half a character", line=4)


def test_nul_byte(world):
    world.file(b"x,y\n1,0\n2,\x001\n")
    refuse(world, "got a NUL byte at byte 10", line=3)


def test_mixed_line_ends(world):
    world.file(b"x,y\n1,0\r\n2,1\n")
    refuse(world, "got both LF and CR LF")


@pytest.mark.parametrize(("row", "got"), [("3", 1), ("3,1,9", 3)])
def test_ragged_row(world, row, got):
    world.file(f"x,y\n1,0\n{row}\n2,1\n")
    refuse(world, f"expected 2 fields, got {got}", line=3)


def test_ragged_row_after_a_cell_of_two_lines(world):
    world.file('x,y,n\n1,0,"two\nlines"\n2,1\n')
    refuse(world, "expected 3 fields, got 2", line=4)


def test_ragged_row_far_into_the_file(world):
    world.file("x,y\n" + "1,0\n2,1\n" * 50_000 + "3\n")
    refuse(world, "expected 2 fields, got 1", line=100_002)


def test_ragged_row_in_the_second_source(world):
    world.file("k,y\n1,0\n2,1\n")
    world.file("k,x\n1,5\n2\n", "u.csv")
    joins = ({"source": "s1", "on": ("k",)},)
    refuse(world, r"u\.csv:3: expected 2 fields, got 1", paths=("t.csv", "u.csv"), joins=joins)


def test_unterminated_quote(world):
    world.file('x,y,n\n1,0,a\n2,1,"b\n3,0,c\n')
    refuse(world, "a quote opens a field and is not closed", line=3)


def test_text_behind_a_closing_quote(world):
    world.file('x,y,n\n1,0,a\n2,1,"b"c\n')
    refuse(world, "a quote opens a field and is not closed", line=3)


def test_target_missing(world):
    world.file("x,Outcome\n1,0\n2,1\n")
    refuse(world, r"the target column 'outcome' was expected.*nearest: 'Outcome'", target="outcome")


def test_target_not_in_the_contract(world):
    world.file(GOOD)
    refuse(world, "the target 'y' was expected among the contract's columns", columns={"x": "number"})


def test_target_denied(world):
    world.file(GOOD)
    refuse(world, "not under policy deny", columns={"x": "number", "y": {"type": "integer", "policy": "deny"}})


def test_contract_columns_missing(world):
    world.file("cholestrol,y\n1,0\n2,1\n")
    columns = {"cholesterol": "number", "zzz": "number", "y": "integer"}
    refuse(world, r"2 of the contract's 3 columns not found: 'cholesterol' \(nearest: 'cholestrol'\), 'zzz'", columns)


def test_reserved_name(world):
    world.file("_fold,y\n1,0\n2,1\n")
    refuse(world, "'_fold' is kept for Kubeloop's own use", {"_fold": "number", "y": "integer"})


def test_target_constant(world):
    world.file("x,y\n1,1\n2,1\n3,1\n")
    refuse(world, r"the target 'y' was expected to vary, it has the same value in all 3 rows")


def test_all_null_column(world):
    world.file("x,y\n,0\nNA,1\n?,1\n")
    refuse(world, "the column 'x' has no value in any of 3 rows")


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_infinite_value_in_csv(world, cell):
    world.file(f'n,x,y\n"two\nlines",1,0\na,,1\nb,{cell},1\n')
    refuse(world, "a finite number was expected in 'x', got an infinite one", line=5)


def test_infinite_value_in_parquet(world):
    pq.write_table(pa.table({"x": [1.0, 2.0, float("inf")], "y": [0, 1, 1]}), world.inputs / "t.parquet")
    refuse(world, r"t\.parquet: row 3: a finite number was expected in 'x'", paths=("t.parquet",))


def test_one_row(world):
    world.file("x,y\n1,0\n")
    refuse(world, "at least 2 rows with a known target were expected, got 1")


def test_no_row_with_a_known_target(world):
    world.file("x,y\n1,\n2,NA\n")
    refuse(world, "at least 2 rows with a known target were expected, got 0")


def test_no_parquet_file(world):
    world.file(GOOD, "t.parquet")
    refuse(world, r"t\.parquet: a Parquet file was expected", paths=("t.parquet",))


def test_parquet_without_rows(world):
    pq.write_table(pa.table({"x": pa.array([], pa.float64())}), world.inputs / "t.parquet")
    refuse(world, "got a table without rows", paths=("t.parquet",))


def test_source_without_a_join(world):
    world.file(GOOD)
    world.file(GOOD, "u.csv")
    refuse(world, "exactly one join was expected for source 's1', got 0", paths=("t.csv", "u.csv"))


def test_join_of_an_unknown_source(world):
    world.file(GOOD)
    refuse(world, "it names 'nobody'", joins=({"source": "nobody", "on": ("x",)},))


def test_join_key_missing(world):
    world.file(GOOD)
    world.file("k,z\n1,2\n", "u.csv")
    joins = ({"source": "s1", "on": ("k",)},)
    refuse(world, r"t\.csv: the column 'k' was expected for the join of 's1'", paths=("t.csv", "u.csv"), joins=joins)


def test_join_with_duplicate_keys(world):
    world.file("k,y\n1,0\n2,1\n")
    world.file("k,x\n1,5\n1,6\n2,7\n", "u.csv")
    joins = ({"source": "s1", "on": ("k",)},)
    refuse(world, r"u\.csv: one row per k was expected.*1 keys stand", paths=("t.csv", "u.csv"), joins=joins)


def test_target_expression_of_wrong_types(world):
    world.file(GOOD)
    target = {"expression": "x > 'abc'", "name": "late"}
    refuse(world, "an expression cannot be computed on these columns", {"x": "number"}, target)


def test_target_expression_with_an_unknown_column(world):
    world.file(GOOD)
    with pytest.raises(InputError):
        world.ingest(world.data({"x": "number"}), {"expression": "xx > 1", "name": "late"})
    assert not world.out.exists() or not list(world.out.iterdir())


def test_derived_target_named_as_a_column(world):
    world.file(GOOD)
    refuse(world, "the derived target is called 'y', and so is a column", target={"expression": "x > 1", "name": "y"})


def test_a_failed_run_leaves_the_old_snapshot(world):
    world.file(GOOD)
    data = world.data(COLUMNS)
    world.ingest(data)
    before = (world.out / "table" / "part-0.parquet").read_bytes()
    world.file("x,y\n1,0\n2\n")
    with pytest.raises(InputError, match="expected 2 fields"):
        world.ingest(data)
    assert (world.out / "table" / "part-0.parquet").read_bytes() == before
    assert [path.name for path in world.out.iterdir()] == ["table"]
