/** Words the generators make names and sentences of. */
export const WORDS =
  'the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know'.split(
    ' ',
  );
export const FIRST_NAMES =
  'james mary robert patricia john jennifer michael linda david elizabeth william barbara richard susan joseph jessica thomas sarah chris karen anna peter paul laura simon emma lukas mia noah sofia'.split(
    ' ',
  );
export const LAST_NAMES =
  'smith johnson williams brown jones garcia miller davis rodriguez martinez hernandez lopez gonzalez wilson anderson thomas taylor moore jackson martin lee perez thompson white harris sanchez clark ramirez lewis robinson'.split(
    ' ',
  );
export const CITIES =
  'berlin paris london madrid rome vienna prague warsaw lisbon dublin oslo helsinki'.split(' ');
