"""The recipe: everything a run does, in one YAML file.

`load_recipe` reads a file, `parse_recipe` a text, `builtin` gives the text of a recipe shipped with the
package; `Recipe.dump` writes one back with every default filled in.
"""

from understudy.recipe.reading import builtin, load_recipe, parse_recipe
from understudy.recipe.spec import AnnotationSampling, MethodEntry, Recipe, StudentEntry, TaskEntry

__all__ = [
    "AnnotationSampling",
    "MethodEntry",
    "Recipe",
    "StudentEntry",
    "TaskEntry",
    "builtin",
    "load_recipe",
    "parse_recipe",
]
