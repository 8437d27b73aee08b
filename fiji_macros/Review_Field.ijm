// Review a field
//
// Opens the images of one field of a run with its ROI set in the ROI Manager and its Results table, linked: click a row
// and the cell is selected and zoomed in every image; click a cell and its row is selected. It goes on until one of the
// images or the table is closed, or Esc is pressed.
//
// Input   the results folder of a run and the name of a field (its field_id, as in fields.csv).
// Output  none; nothing is written.
//
// In the window  choose it from the menu, or run it with the arguments below. It needs a window.
// Arguments      results=[..] field=[..] images=[..] (the folder of images; as in run.json if left out)
//                It returns "OK: ..." or "Error: ...".
// In a macro     run("Review Field", "results=[..] field=[..]"), as the Recorder writes it

var args = "";
var returns = false;
var results = "";
var wide = 0;  // of the view on an image, in px of the screen
var tall = 0;

args = getArgument();
// Fiji shows what a macro returns in a window: only who gives arguments gets an answer.
if (args != "") returns = true;
// run("Review Field", "...") hands its options over in another way than runMacro(file, "...").
options = "" + call("ij.Macro.getOptions");
if (args == "" && indexOf(options, "=") > 0) args = options;
if (call("java.awt.GraphicsEnvironment.isHeadless") == "true") return "" + stop("Review_Field: needs a window (got a headless ImageJ). Run it in Fiji's window.");
if (args == "") {
	Dialog.create("Review a field");
	Dialog.addDirectory("Results folder of a run", call("ij.Prefs.get", "cellposefiji.out", ""));
	Dialog.show();
	results = Dialog.getString();
	call("ij.Prefs.set", "cellposefiji.out", results);
} else results = option("results", "");
if (results == "") return "" + stop("results: nothing named (expected the results folder of a run). Name one.");
if (!File.exists(results + File.separator + "fields.csv") || !File.exists(results + File.separator + "run.json")) return "" + stop(results + ": not the results of a run (expected fields.csv and run.json in it). Name the folder given to the run.");

lines = split(File.openAsString(results + File.separator + "fields.csv"), "\n");
heads = cells(lines[0]);
names = newArray(0);
for (i = 1; i < lines.length; i++) {
	name = column(lines[i], heads, "field_id");
	names = Array.concat(names, name);
}
if (args == "") {
	Dialog.create("Review a field");
	Dialog.addChoice("Field", names, call("ij.Prefs.get", "cellposefiji.field", names[0]));
	Dialog.show();
	field = Dialog.getChoice();
	call("ij.Prefs.set", "cellposefiji.field", field);
	images = "";
} else {
	field = option("field", "");
	images = option("images", "");
}
row = "";
for (i = 0; i < names.length; i++) if (names[i] == field) row = lines[i + 1];
if (row == "") return "" + stop(results + ": has no field of this name (got " + field + "). Look at fields.csv.");
if (images == "") images = imagesOf(File.openAsString(results + File.separator + "run.json"));

condition = folderWith(results + File.separator + "rois", field + "_RoiSet.zip");
if (condition == "") return "" + stop(results + File.separator + "rois: has no " + field + "_RoiSet.zip (expected the ROI set of this field). Was the field finished?");
zip = results + File.separator + "rois" + File.separator + condition + field + "_RoiSet.zip";
folderOfTables = results + File.separator + "measurements" + File.separator + condition;
table = "";
found = getFileList(folderOfTables);
for (i = 0; i < found.length; i++) {
	if (table == "" && startsWith(found[i], field + "_") && endsWith(found[i], "_Results.csv")) table = folderOfTables + found[i];
}
if (table == "") return "" + stop(field + ": has no Results file in " + folderOfTables + ". Was the field measured?");

// The images side by side: where the cells were found, what was measured, the nuclei.
shown = newArray(0);
frame = 1;
for (i = 0; i < heads.length; i++) {
	if (heads[i] == "segment_path" || heads[i] == "count_path" || startsWith(heads[i], "measure_path_")) {
		path = column(row, heads, heads[i]);
		if (path != "") {
			// x.tif#frame=3: one frame of a file of many
			mark = lastIndexOf(path, "#");
			if (mark > 0 && !File.exists(path) && !File.exists(images + File.separator + path)) {
				frame = parseInt(replace(substring(path, mark), ".*frame=([0-9]+).*", "$1"));
				if (isNaN(frame)) frame = 1;
				path = substring(path, 0, mark);
				if (!matches(toLowerCase(path), ".*[.](tif|tiff)") || indexOf(row, "scene=") > 0) return "" + stop(field + ": ImageJ alone does not open " + File.getName(path) + ". Write its channels first: cellpose-fiji correct RESULTS; they are in corrections.");
			}
			if (!File.exists(path)) path = images + File.separator + path;
			if (File.exists(path) && !contains(shown, path)) shown = Array.concat(shown, path);
		}
	}
}
if (shown.length == 0) return "" + stop(field + ": none of its images is in " + images + ". Name the folder of images.");
if (roiManager("count") > 0 && args == "") showMessageWithCancel("Review a field", "The ROI Manager holds " + roiManager("count") + " ROIs. They are removed from it.");
roiManager("reset");
if (isOpen("Results") && nResults > 0) Table.rename("Results", "Results before");
ids = newArray(shown.length);
wide = floor(screenWidth / maxOf(2, shown.length)) - 20;
tall = floor(screenHeight / 2) - 60;
for (i = 0; i < shown.length; i++) {
	open(shown[i]);
	ids[i] = getImageID();
	if (frame > 1) Stack.setFrame(frame);
	run("Enhance Contrast", "saturated=0.2");
	setLocation(i * (wide + 20), 120, wide, tall);
}
if (File.length(zip) <= 22) return "" + stop(field + ": has no cells (got an empty ROI set). There is nothing to review.");
roiManager("open", zip);
n = roiManager("count");
Table.open(table);
Table.rename(File.getName(table), "Results");
Table.setLocationAndSize(0, 160 + tall, screenWidth / 2, screenHeight - tall - 200, "Results");
selectWindow("ROI Manager");
setLocation(screenWidth / 2 + 20, 160 + tall);
if (Table.size("Results") != n) return "" + stop(table + ": has not one row for each ROI (got " + Table.size("Results") + ", expected " + n + "). Run the field again with --update.");
for (i = 0; i < shown.length; i++) {
	selectImage(ids[i]);
	run("From ROI Manager");
	Overlay.useNamesAsLabels(true);
	Overlay.drawLabels(false);
	Overlay.setStrokeColor("cyan");
}
setTool("hand");
showStatus("Click a row or a cell; Esc ends the review");
once = option("once", "");
if (once != "") return "OK: " + n + " cells of " + field;

selected = -1;
pressed = false;
// No function that returns a value in here: ImageJ throws an exception where Esc ends one.
opened = true;
while (opened) {
	wait(20);
	if (!isOpen("Results")) opened = false;
	for (i = 0; i < ids.length; i++) if (!isOpen(ids[i])) opened = false;
	if (opened) {
		picked = Table.getSelectionStart("Results");
		if (picked >= 0 && picked != selected) {
			selected = picked;
			showCell(ids, selected);
		}
		if (nImages > 0) {
			getCursorLoc(x, y, z, flags);
			down = flags & 16 != 0;
			if (down && !pressed) {
				cell = Overlay.indexAt(x, y);
				if (cell >= 0 && cell != selected) {
					selected = cell;
					Table.setSelection(cell, cell, "Results");
					showCell(ids, cell);
				}
			}
			pressed = down;
		}
	}
}
if (returns) return "OK: " + n + " cells of " + field;


// Selects a cell in every image and zooms to it.
function showCell(ids, cell) {
	front = getImageID();
	for (j = 0; j < ids.length; j++) {
		if (isOpen(ids[j])) {
			selectImage(ids[j]);
			roiManager("select", cell);
			getSelectionBounds(x, y, w, h);
			// A cell fills a quarter of the view; the view stays within the image.
			zoom = minOf(800, floor(25 * minOf(wide, tall) / maxOf(w, h)));
			zoom = maxOf(zoom, floor(100 * maxOf(wide / getWidth(), tall / getHeight())) + 1);
			w2 = floor(100 * wide / zoom);
			h2 = floor(100 * tall / zoom);
			x = minOf(maxOf(floor(x + w / 2), floor(w2 / 2)), getWidth() - w2 + floor(w2 / 2));
			y = minOf(maxOf(floor(y + h / 2), floor(h2 / 2)), getHeight() - h2 + floor(h2 / 2));
			run("Set... ", "zoom=" + zoom + " x=" + x + " y=" + y + " width=" + w2 + " height=" + h2);
		}
	}
	if (isOpen(front)) selectImage(front);
}

function contains(list, what) {
	for (j = 0; j < list.length; j++) if (list[j] == what) return true;
	return false;
}

// The folder below another one that holds a file of this name, with its separator; empty where there is none.
function folderWith(path, name) {
	below = getFileList(path);
	for (j = 0; j < below.length; j++) if (File.exists(path + File.separator + below[j] + name)) return "" + below[j];
	// Conditions of very many fields have subfolders 000/ to 099/.
	for (j = 0; j < below.length; j++) {
		for (k = 0; k < 100; k++) {
			inner = below[j] + IJ.pad(k, 3) + "/";
			if (File.exists(path + File.separator + inner + name)) return "" + inner;
		}
	}
	return "";
}

// The folder of images as run.json has it.
function imagesOf(json) {
	begin = indexOf(json, "\"images\": \"") + 11;
	if (begin < 11) return "";
	path = "";
	for (j = begin; j < lengthOf(json); j++) {
		letter = substring(json, j, j + 1);
		if (letter == "\"") return path;
		if (letter == "\\") {
			j++;
			letter = substring(json, j, j + 1);
		}
		path = path + letter;
	}
	return path;
}

// The cells of a line of a CSV file; a quoted one may hold commas.
function cells(line) {
	found = newArray(0);
	text = "";
	quoted = false;
	for (j = 0; j < lengthOf(line); j++) {
		letter = substring(line, j, j + 1);
		if (letter == "\"") quoted = !quoted;
		else if (letter == "," && !quoted) {
			found = Array.concat(found, text);
			text = "";
		} else text = text + letter;
	}
	found = Array.concat(found, text);
	return found;
}

function column(line, heads, name) {
	values = cells(line);
	for (j = 0; j < values.length; j++) if (heads[j] == name) return "" + values[j];
	return "";
}

// One value of the arguments: name=[value], or name=value where it has no space.
function option(name, otherwise) {
	begin = indexOf(" " + args, " " + name + "=");
	if (begin < 0) return otherwise;
	begin = begin + lengthOf(name) + 1;
	value = substring(args, begin);
	if (startsWith(value, "[")) return substring(value, 1, indexOf(value + "]", "]"));
	return substring(value, 0, indexOf(value + " ", " "));
}

// Says what is wrong: what the macro returns if it was given arguments, else a message, and the end of the macro.
function stop(text) {
	if (returns) {
		print("Error: " + text);
		return "Error: " + text;
	}
	if (args != "") {
		// The macro whose run(...) this was ends as well.
		print("Error: " + text);
		call("ij.IJ.error", "Review a field", text);
	} else showMessage("Review a field", text);
	exit;
}
