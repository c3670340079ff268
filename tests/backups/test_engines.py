"""Each engine: backed up while somebody writes, restored into another server, with all that was acknowledged before."""

from contextlib import closing

import pytest
from temporalio.exceptions import ApplicationError

from contract.domain.manifest import MANIFEST, backup_prefix, chunk_name
from tests.backups.conftest import Instance, Writer, back_up, restore
from tests.contracts.engines import DIALECTS


def rows(instance: Instance) -> list[int]:
    return [number for (number,) in instance.ask("SELECT n FROM written ORDER BY n")]


def test_a_backup_under_load_is_the_database_of_another_server(instance: Instance, other: Instance) -> None:
    with Writer(instance) as writer:
        while writer.acknowledged < 100:
            pass
        before = writer.acknowledged
        backup = back_up(instance)
        after = writer.acknowledged
    assert backup.report.size_bytes > 0
    restored = restore(other, backup)
    assert restored.engine_version == backup.report.engine_version == instance.guest.engine.version()
    other.start()
    there = rows(other)
    assert there == list(range(1, len(there) + 1))
    assert before <= len(there) <= after + 1
    assert other.guest.engine.accounts.list_users() == instance.guest.engine.accounts.list_users()
    assert other.guest.engine.accounts.list_databases() == ("app",)
    other.ask("INSERT INTO written VALUES (1000000, 'goes on')")
    assert [each.name for each in (other.folder / "data").glob("*restoring*")] == []


def test_increments_are_applied_in_their_order(instance: Instance, other: Instance) -> None:
    if not instance.guest.incremental():
        pytest.skip("has no increments")
    instance.ask("CREATE TABLE large AS SELECT seq, SHA2(seq, 512) AS text FROM seq_1_to_20000")
    instance.guest.engine.stop()  # in order: all that its log says is in its pages, and no increment carries it again
    instance.guest.engine.start()
    chain = [back_up(instance)]
    chain.append(back_up(instance, chain[-1]))
    assert chain[1].report.stored_bytes < chain[0].report.stored_bytes / 2
    for _ in range(2):
        with Writer(instance) as writer:
            wanted = writer.acknowledged + 50
            while writer.acknowledged < wanted:
                pass
            chain.append(back_up(instance, chain[-1]))
    with pytest.raises(ApplicationError, match="not what it stands behind in the chain"):
        restore(other, chain[0], chain[2])
    restore(other, *chain)
    other.start()
    there = rows(other)
    assert there == list(range(1, len(there) + 1))
    assert len(there) >= wanted
    assert other.ask("CHECKSUM TABLE large") == instance.ask("CHECKSUM TABLE large")


def test_what_cannot_become_a_database_leaves_none(instance: Instance, other: Instance) -> None:
    backup = back_up(instance)
    with pytest.raises(ApplicationError, match="there is a database on the data volume already"):
        restore(instance, backup)
    assert rows(instance)[:1] == [1]
    last = f"{backup_prefix(instance.id, backup.id)}{chunk_name(backup.report.chunks)}"
    whole = instance.store.look(last)
    assert whole is not None
    instance.store.put(last, whole[:-1])
    with pytest.raises(ApplicationError, match=r"is damaged: chunk .* nothing was restored from it"):
        restore(other, backup)
    assert list((other.folder / "data").iterdir()) == []
    instance.store.put(last, whole)
    restore(other, backup)
    other.start()
    assert rows(other) == rows(instance)


def test_a_backup_of_another_series_is_refused(instance: Instance, other: Instance) -> None:
    backup = back_up(instance)
    other.guest.end()
    other.build("another")
    with pytest.raises(ApplicationError, match=f"is of {instance.manager} tried, and this instance is"):
        restore(other, backup)


def test_an_engine_that_does_not_run_is_not_backed_up(instance: Instance) -> None:
    instance.guest.engine.stop()
    try:
        with pytest.raises(ApplicationError):
            back_up(instance)
        assert not [each for each in instance.store.keys(instance.id) if not whole(instance, each)]
    finally:
        instance.guest.engine.start()


def whole(instance: Instance, key: str) -> bool:
    """Whether an object is of a backup that is there."""
    return instance.store.look(f"{key.rpartition('/')[0]}/{MANIFEST}") is not None


def test_the_tool_s_account_does_not_stay(instance: Instance, other: Instance) -> None:
    restore(other, back_up(instance))
    other.start()
    for each in (instance, other):
        secret = (each.folder / "state/os_admin").read_text() if (each.folder / "state/os_admin").exists() else ""
        with closing(DIALECTS[each.manager].administer(each.folder / "data", secret)) as connection:
            question = DIALECTS[each.manager].accounts_named.format("coffer%backup")
            assert int(DIALECTS[each.manager].ask(connection, question)[0][0]) == 0


def test_a_table_that_mysql_s_plugin_leaves_out_is_told(instance: Instance) -> None:
    if instance.manager != "mysql":
        pytest.skip("of MySQL alone")
    instance.ask("CREATE TABLE left_out (n int) ENGINE = MyISAM")
    try:
        with pytest.raises(ApplicationError, match=r"table app.left_out cannot be backed up"):
            back_up(instance)
    finally:
        instance.ask("DROP TABLE left_out")
    assert not (instance.folder / "data/mysql.copy").exists()
