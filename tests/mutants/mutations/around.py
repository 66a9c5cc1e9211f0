"""Faults around a repository: what is patched in dulwich, and the commands."""

from __future__ import annotations

from ..mutation import Mutation

MUTATIONS = (
    Mutation(
        "stash-keeps-its-ref",
        "patches/stash.py",
        "        elif index == 0:\n            refs[self._ref] = ObjectID(newest.new_sha)\n",
        "",
        "after stash pop, git applies the entry that was popped",
        ("patches/test_around.py", "patches/test_week.py"),
    ),
    Mutation(
        "gc-forgets-reflogs",
        "patches/reachability.py",
        "                    logged.update((entry.old_sha, entry.new_sha))\n",
        "                    pass\n",
        "gc removes what only a reflog names, such as older stashes",
        ("patches/test_around.py", "patches/test_worktrees.py"),
    ),
    Mutation(
        "gc-forgets-worktrees",
        "patches/reachability.py",
        '    others += [os.path.join(common_dir, "worktrees", name)'
        " for name in worktree_ids(common_dir)]\n",
        "",
        "gc removes the commit that is checked out in a linked worktree",
        ("patches/test_worktrees.py", "patches/test_around.py"),
    ),
    Mutation(
        "bundle-command-goes-around-us",
        "patches/table.py",
        '            "dulwich.cli:create_bundle_from_repo",\n',
        '            "dulwich.bundle:create_bundle_from_repo",\n',
        "dulwich bundle create goes on calling dulwich's own function",
        ("patches/test_install.py::test_every_name_of_a_function_is_covered",),
    ),
    Mutation(
        "original-is-not-put-back",
        "patches/patch_set.py",
        "                    setattr(place.owner, place.name, place.value)\n",
        "                    pass\n",
        "uninstall() leaves our functions in dulwich",
        ("patches/test_install.py",),
    ),
    Mutation(
        "replaced-in-part",
        "compat.py",
        "    if known != list(parameters) or not set(required).issubset(parameters):\n",
        "    if False:\n",
        "a dulwich that has changed calls our functions with what they do not know",
        ("patches/test_install.py",),
    ),
    Mutation(
        "dulwich-is-not-checked",
        "compat.py",
        "\n\ncheck_requirements()\n",
        "\n",
        "with a changed dulwich, overrides are not called, or fail in the midst of a push",
        ("test_compat.py",),
    ),
    Mutation(
        "reflog-of-another-ref",
        "patches/reflogs.py",
        "            if not all or not isinstance(refs, ReftableRefsContainer):\n",
        "            if not isinstance(refs, ReftableRefsContainer):\n",
        "dulwich reflog shows the entries of all refs",
        ("patches/test_around.py", "patches/test_cli.py", "patches/test_week.py"),
    ),
    Mutation(
        "dump-hides-damage",
        "cli/dump.py",
        "        self.is_damaged = self.is_damaged or bool(findings)\n",
        "",
        "dump says that a table which contradicts itself is sound",
        ("cli/test_dump.py",),
    ),
    Mutation(
        "no-deref-for-ever",
        "cli/update_commands.py",
        '        if name != b"option":\n            self._follow = self._follows\n',
        "",
        "option no-deref counts for all commands that follow",
        ("cli/test_update_ref.py",),
    ),
    Mutation(
        "started-transactions-commit-themselves",
        "cli/update_commands.py",
        '            if self._state == "open":\n                self._transaction.commit()\n',
        '            if self._state != "closed":\n                self._transaction.commit()\n',
        "a transaction that was started and cut off is done",
        ("cli/test_update_ref.py",),
    ),
    Mutation(
        "reflog-of-nothing-exists",
        "cli/reflog.py",
        "        elif not refs.reflog_exists(os.fsencode(parsed.ref)):\n            return 1\n",
        "",
        "a script takes every reflog for there",
        ("cli/test_commands.py",),
    ),
)
