# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What this package needs of dulwich beyond its public API, and what differs by version.

``needs`` lists dulwich's private names that this package calls or overrides, by the part of the
package that needs them. A list is checked before that part is used: the container's when the
package is imported, that of ``Repo`` when ``Repo`` is imported. A dulwich in which a name is
missing, or takes other parameters, is reported there by that name. So nothing fails in the middle
of a push, and no override is silently left uncalled. Some parts ask for a
newer version when they are imported.

What :func:`dulwich_reftable.install` replaces is listed in
:mod:`dulwich_reftable.patching.table`. It is checked by the same functions, before the first
attribute is replaced.

``shapes`` has one name for each thing that is private, or is not the same in all versions.
"""

from .needs import CONTAINER, PARTS_SINCE, REPO, SERVER, check_version
from .requirement import (
    Place,
    Requirement,
    UnsupportedDulwichError,
    check_all,
    find_function,
    is_older,
    version_text,
)
from .shapes import (
    THIS_REPOSITORY,
    Conditions,
    add_setting,
    approximate_time,
    condition_matchers,
    hex_size_of,
    init_arguments,
    open_control_dir,
    read_config,
    read_config_file,
    reflog_of_files,
    set_filesystem_hidden,
    set_setting,
    values_of,
)

__all__ = [
    "CONTAINER",
    "PARTS_SINCE",
    "REPO",
    "SERVER",
    "THIS_REPOSITORY",
    "Conditions",
    "Place",
    "Requirement",
    "UnsupportedDulwichError",
    "add_setting",
    "approximate_time",
    "check_all",
    "check_version",
    "condition_matchers",
    "find_function",
    "hex_size_of",
    "init_arguments",
    "is_older",
    "open_control_dir",
    "read_config",
    "read_config_file",
    "reflog_of_files",
    "set_filesystem_hidden",
    "set_setting",
    "values_of",
    "version_text",
]

check_all(CONTAINER)
